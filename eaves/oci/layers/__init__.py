"""Layers, configs and manifests of container images.

layer             building a layer from files; equal files give equal bytes on any machine
image             building config, manifest and index from a base and layers
artifact_layers   splitting an artifact into layers so that an update changes few of them
cache             keeping layers that take long to make
wheels            fetching the wheels in a lock file for the container's platform
bytecode          compiling byte code for the container's Python
base_library      reading the standard library in a base's layers
standard_library  byte code of the standard library's modules that a container imports
subprocesses      running a child process that ends when its caller does
"""
