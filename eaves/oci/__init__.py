"""Container images without a daemon: built from files in plain Python, pushed to a registry, compared, signed.

    descriptor   what content is: media type, digest, size            place    what layouts and registries share
    layer        files > a layer, the same bytes everywhere           layout   an OCI layout: content and names
    image        base + layers > config, manifest, index              archive  a layout as one tar
    contents     artifact > the layers that an update follows         runtime  locked wheels > the runtime's layers
    wheels       what a lock names, for another machine               bytecode  compiled for another Python
    cache        layers that take long to make                        child    a process that nothing outlives
    registry     the same content at a registry, over `transport`     copy     from place to place, what is missing
    delta        what a node that has A fetches for B                 keys     ECDSA, in files as cosign writes them
    signature    who vouches for it, in cosign's format               integrity  every byte against what says it

Source: OCI image-spec 1.1 and distribution-spec 1.1.
"""
