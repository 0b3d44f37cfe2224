"""Integration tests of `converters/gate`."""
