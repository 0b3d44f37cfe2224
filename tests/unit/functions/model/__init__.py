"""Unit tests of `functions/model`."""
