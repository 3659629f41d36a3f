"""From a scene to pictures: OpenGL or Filament, lenses, films."""
