"""Finds, reads, splits and decodes labelled images, from local files or from a URI.

    listing           the images of a folder or a manifest by name, and files that are not used, by cause
    remote            mirrors a URI into a local directory, and unpacks archives
    near_duplicates   finds pictures that look alike, and copies of one photo
    groups            groups of images that stay on one side of the split, and proposals of a value of `data.group_by`
    splitting         assigns each image to a side; `split.jsonl` and `held_out.jsonl`, and the split of an earlier run
    dataset           reads and hashes every file; the dataset, checked and split
    pixels            decodes examples to one uint8 array, and makes fixed variants of an image

Images at a URI are downloaded to local files first, so the modules that read images know nothing about URIs. Only
`remote` imports fsspec.
"""
