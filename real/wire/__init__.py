"""What goes over the controller's ports: frames, streams, calls."""
