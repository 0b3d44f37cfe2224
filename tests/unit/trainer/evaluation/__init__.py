"""Unit tests of `trainer/evaluation`."""
