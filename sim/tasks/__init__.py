"""The tasks, one file each; `base` defines what a task is, `names` lists them."""
