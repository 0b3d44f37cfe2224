"""Unit tests of `converters/source`."""
