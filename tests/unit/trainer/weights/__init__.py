"""Unit tests of `trainer/weights`."""
