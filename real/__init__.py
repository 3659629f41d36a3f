"""The robot: its driver, its emulator and the programs that run on them."""

import sim  # noqa: F401  chooses MuJoCo's GL back-end, which must precede any import of MuJoCo
