"""Unit tests of a spool's queue."""
