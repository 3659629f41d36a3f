"""Episodes on disk in LeRobot's format: written whole, read by episode, video beside rows."""
