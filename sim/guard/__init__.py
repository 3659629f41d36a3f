"""The motion guard between policy and arm, and what tries it."""
