"""Processes of the experiment: restarted after a kill, slowed down, or clients of functions and registries.

The package also has the simulated camera and the collector of the cloud-only setup's predictions.
"""
