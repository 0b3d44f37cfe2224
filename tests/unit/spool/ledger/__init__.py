"""Unit tests of a spool's ledger."""
