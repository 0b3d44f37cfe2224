"""Unit tests of `converters/tensorflow`."""
