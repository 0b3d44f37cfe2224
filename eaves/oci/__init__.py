"""Container images without a daemon: built from files in plain Python, pushed to a registry, compared, signed.

    descriptor           media type, digest and size of a piece of content
    reference            names of container images
    image_location       opening the layout or registry that a name stands for
    store/               content by digest: what layouts and registries share, and the layout on disk
    registry/            the same content at a registry
    layers/              building layers from files, and a container image from a base and layers
    sign/                signing and verifying a container image, and checking every byte of it
    package              building a container image from an artifact and a base
    artifact_extraction  getting the artifact out of a container image
    runtime              building the runtime's layers from locked wheels and Eaves' own code
    import_graph         the modules that a process may import
    copy                 copying a container image: missing content first, its name last
    delta                what a node that has one container image fetches for another
    outage               messages while a registry is out of reach
    signal_handling      steps that Ctrl-C and SIGTERM must not interrupt

Source: OCI image-spec 1.1 and distribution-spec 1.1.
"""
