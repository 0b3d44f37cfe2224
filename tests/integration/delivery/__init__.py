"""Integration tests of `delivery`."""
