"""Runs as pages show them.

files       a run's files, read and checked
page        what the page of a run shows
confusion   what a model takes for what, and the photos of it
comparison  two runs on the images that both hold out
"""
