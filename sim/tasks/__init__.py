"""The tasks, one file each; `base` says what a task is, `names` which there are."""
