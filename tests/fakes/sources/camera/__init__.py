"""Cameras that behave as a test says, and decoders that do."""
