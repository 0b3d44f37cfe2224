"""Integration tests of `cli`."""
