"""Unit tests of `sources/folder`."""
