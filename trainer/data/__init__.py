"""Where labelled images come from: a folder per class, a manifest or an archive, here or behind a URI.

    listing        what was found before any image is read        folder    a folder per class
    manifest       rows of path, label and perhaps a split        archive   unpacked without trusting it
    remote         a URI mirrored into a local directory          reading   files read, hashed and looked at
    unused_files   files that are not used, and why               dataset   all of these put together, and split
    pixels         examples > one uint8 array                     augmentation   fixed variants of an image
    split/         which images are held out

Everything here ends in local files: nothing downstream knows about URIs. `remote` alone imports fsspec.
"""
