"""Benchmarks of the local platform: what it adds to a direct call, its rate, the cost of its queue, and its idle load.

The supervisor, its broker, its activator and its queue are the real ones, in their own process. The function is a
process that answers 202 (`bench/local/function.py`), so the measurements show the platform's own share.
"""
