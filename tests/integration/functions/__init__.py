"""Integration tests of `functions`."""
