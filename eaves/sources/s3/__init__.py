"""The s3 source, which captures the images in a bucket of an object store.

settings        settings of the kind in eaves.yaml
scan            lists the bucket: whole passes, and passes over what follows the last known keys
capturer        turns one object into one event
hints           keys that notifications name, until they are looked at
notification    keys in a store's notification
webhook         takes notifications over HTTP
sqs             takes notifications from a queue of Amazon SQS
notifications   runs webhook and queue
source          main loop, which uses these modules
kind            the kind of source

The listing is the truth, and a notification is a hint that only makes an image come sooner: an image whose notification
was lost is found by the next pass. An object that a notification names is looked up in the listing too, so that it has
the same identity whichever way it was found.
"""
