"""The local platform's promises, measured: what it adds to a direct call, its rate, its queue's size and its rest.

The supervisor, its broker, its activator and its queue are the real ones, in a process of their own. The function is a
process that answers 202 (`bench/local/function.py`), so what is left is the platform's own part.
"""
