"""Holds servers of the model that a function serves; `bench.function.others` compares them with the function.

Each server is set up as its own documentation describes.
"""
