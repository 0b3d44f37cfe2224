"""Benchmarks: `make bench` measures all sections of docs/benchmarks.md; `python -m bench NAME` measures one.

A section measures Eaves and, in turn with it, a minimal program that does only the necessary work, and other programs
for the same work. The texts call the minimal program the floor, because no implementation can be much faster, and call
a required limit of a measured value the bar. `python -m bench compare` compares two checkouts of Eaves.
"""
