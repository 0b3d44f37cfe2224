"""Unit tests of `converters/evaluation`."""
