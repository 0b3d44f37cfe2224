"""Integration tests of `sources`."""
