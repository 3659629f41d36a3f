"""How the eye learns: its network from pixels, then its mixing network from geometry."""
