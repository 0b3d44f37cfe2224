"""Unit tests of `functions/http`."""
