"""Unit tests of `sources/agent`."""
