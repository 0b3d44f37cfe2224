"""Benchmarks of the local platform: the time that it adds to a request, its throughput, its queue, and its idle load.

The supervisor, its broker, its activator and its queue are the real ones, in a process of their own. The function is a
process that answers 202 without any work (`bench/local/function.py`), so the measurements show the cost of the platform
alone.
"""
