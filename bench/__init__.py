"""Measurements: `make bench` runs them all, `python -m bench NAME` one. They print numbers and judge nothing.

Each is measured against a floor in the same run (a bare script that does only the unavoidable), as a ratio.
"""
