"""Benchmarks: `make bench` runs most of them, `python -m bench NAME` runs one.

They print numbers. Most benchmarks also measure, in the same run, a minimal program that does only the necessary work,
and print the ratio of both times. The texts call the minimal program the floor, because no implementation can be much
faster, and call a required limit of a measurement the bar. `bench.__main__.ON_REQUEST` lists those that run only when
they are named.
"""
