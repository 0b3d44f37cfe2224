"""Unit tests of `images`."""
