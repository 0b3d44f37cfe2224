"""Benchmarks: `make bench` runs all of them, `python -m bench NAME` runs one. They print numbers without a verdict.

Each benchmark also measures a floor in the same run (a minimal script that does only the necessary work) and prints the
ratio.
"""
