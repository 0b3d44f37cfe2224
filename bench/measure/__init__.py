"""Contains tools for the benchmarks: a load generator, memory and times of processes, and a byte counter."""
