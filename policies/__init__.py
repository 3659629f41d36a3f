"""Policies: interface, parts, training, evaluation."""

import sim  # noqa: F401 - MuJoCo's GL back-end is chosen, and Ctrl-C is one line, before anything heavy is imported
