"""Layers, configs and manifests of container images.

layer             building a layer from files (equal files give equal bytes on any machine), keeping it, reading it
image             building config, manifest and index from a base and layers
wheels            fetching the wheels in a lock file for the container's platform
bytecode          compiling byte code for the container's Python, and of a base's standard library
"""
