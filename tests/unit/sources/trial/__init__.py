"""Unit tests of the trial of a source."""
