"""What stands in the world: fixtures, shapes, clutter, and the MuJoCo model built of them."""
