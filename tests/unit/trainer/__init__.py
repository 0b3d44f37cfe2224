"""Unit tests of `trainer`."""
