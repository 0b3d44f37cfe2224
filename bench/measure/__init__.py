"""Measuring instruments of the benchmarks: load, processes, times, bytes on the wire."""
