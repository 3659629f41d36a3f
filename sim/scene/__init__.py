"""The scene: fixtures, shapes, objects and layout, and the MuJoCo model built of them."""
