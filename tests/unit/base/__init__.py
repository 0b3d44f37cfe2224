"""Unit tests of `base`."""
