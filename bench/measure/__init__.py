"""What the benchmarks measure with: load, processes, times, bytes on the wire."""
