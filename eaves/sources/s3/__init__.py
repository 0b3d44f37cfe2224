"""The s3 source, which captures the images in a bucket of an object store.

kind           the kind of source, with its settings in eaves.yaml
notifications  takes notifications from a queue of Amazon SQS; their keys wait as hints
source         main loop: lists the bucket, in whole passes and over what follows the last known keys, and captures

The listing is the truth, and a notification is a hint that only makes an image come sooner: an image whose notification
was lost is found by the next pass. An object that a notification names is looked up in the listing too, so that it has
the same identity whichever way it was found.
"""
