"""Tools that the benchmarks measure with: a load generator, memory and times of processes, and a byte counter."""
