"""Measures predictions over a bad link between edge and cloud, with simulated faults: docs/evidence.md."""
