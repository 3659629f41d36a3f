"""Cameras of the bench, each providing its newest image."""
