"""Unit tests of `trainer/report`."""
