"""Integration tests of `inference`."""
