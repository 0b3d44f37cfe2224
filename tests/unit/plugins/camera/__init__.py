"""Unit tests of the camera source and its decoder."""
