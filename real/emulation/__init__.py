"""The emulated controller behind `real.emulator`: its mind, its ports, its arm."""
