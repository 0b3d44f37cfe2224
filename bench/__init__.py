"""Benchmarks: `make bench` measures all parts and writes docs/benchmarks.md; `python -m bench NAME` runs some.

A part measures Eaves and, on the same occasion, a minimal program that does only the necessary work, and returns the
ratio of both. The texts call the minimal program the floor, because no implementation can be much faster, and call a
required limit of a measured value the bar. `bench.registry` lists the parts, and the benchmarks that only print tables.
"""
