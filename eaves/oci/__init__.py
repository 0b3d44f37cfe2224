"""Container images without a daemon: built from files in plain Python, pushed to a registry, compared, signed.

    descriptor        what content is: media type, digest, size
    reference         names of container images
    image_location    a name > the layout or the registry that it stands for
    store/            content by digest: what layouts and registries share, and the layout on disk
    registry/         the same content at a registry
    layers/           files > layers, base + layers > a container image
    sign/             who vouches for a container image, and every byte of it against what says it
    package           artifact + base > a container image;  artifact_extraction: the artifact out of it again
    runtime           locked wheels and our own code > the runtime's layers
    copy              a container image from one place to another: what is missing, and its name last
    delta             what a node that has one container image fetches for another
    outage            what a person is told while a registry is out of reach
    signal_handling   what Ctrl-C and SIGTERM must not divide

Source: OCI image-spec 1.1 and distribution-spec 1.1.
"""
