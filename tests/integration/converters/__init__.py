"""Integration tests of `converters`."""
