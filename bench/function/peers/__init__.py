"""Servers that serve the same exported model as a function, for the comparison in `bench.function.others`.

Each is set up as its own documentation describes.
"""
