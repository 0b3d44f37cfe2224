"""Helpers of the link experiment: a simulated camera, processes that are killed and restarted, and small programs.

The programs request predictions, collect them, and push and pull container images.
"""
