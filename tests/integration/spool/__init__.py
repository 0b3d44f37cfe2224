"""Integration tests of `spool`."""
