"""Contains helpers of the link experiment: a simulated camera, processes that are killed, and small programs.

The small programs request predictions, collect predictions, and push and pull container images.
"""
