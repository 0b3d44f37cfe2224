"""Unit tests of `converters/proof`."""
