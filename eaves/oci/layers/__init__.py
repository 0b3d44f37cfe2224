"""Layers, configs and manifests of container images.

layer             building a layer from files; equal files give equal bytes everywhere
image             building config, manifest and index from a base and layers
artifact_layers   splitting an artifact into layers so that an update changes few of them
cache             keeping layers that take long to make
wheels            fetching the wheels of a lock file for another machine
bytecode          compiling for another Python
subprocesses      running a child process that ends with its parent's call
"""
