"""Benchmark of cold starts through Knative: functions and a floor in turn, split into phases.

The functions are deployed from container images that the cluster can pull, into a namespace of their own that is
deleted at the end. The floor is the container image of a server that does almost nothing; there is none in this
repository, and without one the table has no floor.
"""
