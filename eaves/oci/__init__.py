"""Building, pushing, comparing and signing of container images in plain Python, without a Docker daemon.

    descriptor           media type, digest and size of a piece of content
    reference            names of container images
    image_location       opening the layout (a directory) or registry that a name stands for
    store/               content by digest: interfaces for layouts and registries, and the layout on disk
    registry/            content by digest at a registry, over HTTP
    layers/              building layers from files, and a container image from a base and layers
    sign/                signing and verifying a container image, and checking every byte of it
    package              building a container image from an artifact and a base
    artifact_extraction  getting the artifact out of a container image
    runtime              building the runtime's layers: standard library, locked wheels, Eaves' own code
    import_graph         the modules that a process may import
    copy                 copying a container image: missing content first, its name last
    delta                content that a node with one container image must fetch for another one
    outage               messages while a registry is out of reach
    signal_handling      steps that Ctrl-C and SIGTERM must not interrupt

Source: OCI image-spec 1.1 and distribution-spec 1.1.
"""
