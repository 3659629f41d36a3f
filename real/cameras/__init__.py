"""Cameras of the bench: what gives the newest picture."""
