"""What `real.calibrate` moves, looks at and fits."""
