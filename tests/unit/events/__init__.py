"""Unit tests of `events`."""
