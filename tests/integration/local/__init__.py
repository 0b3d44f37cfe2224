"""Integration tests of `local`."""
