"""Unit tests of `functions/fetch`."""
