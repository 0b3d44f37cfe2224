"""Unit tests of `converters/gate`."""
