"""Unit tests of `converters/int8`."""
