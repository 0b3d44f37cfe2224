"""Holds servers of the model that a function serves; `bench.servers.comparison` compares them with the function.

Each server is set up as its own documentation describes.
"""
