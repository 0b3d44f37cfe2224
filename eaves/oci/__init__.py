"""Building, pushing, comparing and signing of container images in plain Python, without a Docker daemon.

    descriptor      media type, digest and size of a piece of content; names of container images
    layout          content by digest: interfaces for layouts and registries, and the layout on disk
    registry/       content by digest at a registry, over HTTP
    layers/         building layers from files, and a container image from a base and layers
    signatures      signing a container image, and verifying its signature
    package         building a container image from an artifact and a base, and getting the artifact out of it
    runtime         building the runtime's layers: standard library, locked wheels, Eaves' own code
    copy            opening what a name stands for, and copying a container image: missing content first, its name last

Source: OCI image-spec 1.1 and distribution-spec 1.1.
"""
