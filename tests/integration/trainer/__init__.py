"""Integration tests of `trainer`."""
