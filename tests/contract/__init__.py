"""The vendor's generated client against the emulator."""
