"""Where labelled images come from: a folder per class, a manifest or an archive, here or behind a URI.

    listing     what was found before any image is read        folder      a folder per class
    manifest    rows of path, label and perhaps a split        archive     unpacked without trusting it
    remote      a URI mirrored into a local directory          copies      which pictures are nearly the same

`trainer.dataset` puts them together. Everything here ends in local files: nothing downstream knows about URIs. `remote`
alone imports fsspec.
"""
