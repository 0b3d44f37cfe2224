"""Integration tests of the http source."""
