"""Unit tests of `inference`."""
