"""What `real.parity` looks for between a robot and its simulator."""
