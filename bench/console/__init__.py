"""Benchmark of the console: what it costs the platform while nobody looks and while many do, and how fast it shows.

function  answers each image with a prediction at once
clients   a process that holds open streams
browser   a real Chromium with the first screen open
section   the figures
"""
