"""Tests of the benchmarks with real processes."""
