"""Unit tests of `trainer/check`."""
