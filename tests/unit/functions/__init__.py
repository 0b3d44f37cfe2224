"""Unit tests of `functions`."""
