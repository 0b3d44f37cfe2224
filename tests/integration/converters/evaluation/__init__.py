"""Integration tests of `converters/evaluation`."""
