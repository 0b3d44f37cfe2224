"""Finds, reads, splits and decodes labelled images, from local files or from a URI.

    listing        the images of a folder by name, and files that are not used, by cause
    manifest       lists rows of path, label and split          remote         mirrors a URI into a local directory
    archive        unpacks untrusted archives                   reading        reads and hashes every file
    dataset        the dataset, checked and split               split/         decides which images are held out
    pixels         decodes examples to one uint8 array          augmentation   fixed variants of an image

Images at a URI are downloaded to local files first, so the modules that read images know nothing about URIs. Only
`remote` imports fsspec.
"""
