"""Unit tests of `artifact`."""
