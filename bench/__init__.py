"""Benchmarks: `make bench` runs most of them, `python -m bench NAME` runs one.

The benchmarks print numbers. Most of them also measure, on the same occasion, a minimal program that does only the
necessary work, and print the ratio of both times. The texts call the minimal program the floor, because no
implementation can be much faster, and call a required limit of a measured value the bar. `bench.__main__.ON_REQUEST`
lists the benchmarks that run only when they are named.
"""
