"""From a scene to images: OpenGL or Filament."""
