"""Benchmarks: `make bench` runs all of them, `python -m bench NAME` runs one.

They print numbers. Most benchmarks also measure a minimal program that does only the necessary work in the same run,
and print the ratio of both times. The texts call the minimal program the floor, because no implementation can be much
faster, and call a required limit of a measurement the bar.
"""
