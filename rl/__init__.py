"""RECAP and its controls: offline RL on what policies did."""

import sim  # noqa: F401 - MuJoCo's GL back-end is chosen, and Ctrl-C is one line, before anything heavy is imported
