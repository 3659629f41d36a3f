"""Labelled scenes: what the simulator knows for nothing about what its cameras see."""
