"""Claim checks: large images go to a bucket, and their events refer to them by `dataref`.

settings       the settings of every source for it, a section beside those of its kind
claim_checker  puts an image into the bucket and returns its event without data

An image is in the bucket before its event is in the spool, so no event refers to an image that doesn't exist. While the
bucket can't be used, events keep their data, because predictions must not depend on a link.
"""
