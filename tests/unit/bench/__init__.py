"""Tests of the benchmarks: their results, their page and their list."""
