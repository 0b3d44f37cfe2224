"""The http source: a picture at a URL, asked for at an interval.

settings        what eaves.yaml may say of it
challenge       what a server asks for before it lets in (WWW-Authenticate)
digest          the answer to a challenge of the scheme Digest
authentication  answers challenges, with credentials from files
redirects       where an answer may lead: within its host only
completeness    whether an image was received to its end
client          one request and what it leads to > a snapshot
snapshot_identity  what tells one snapshot from another
source          the loop over these
kind            all of it as a kind of source

It sends GET requests to one host only, keeps one snapshot in memory at most, and never gives up on a camera: one that
gives no picture is asked again within a minute, after `every_s` when that is longer, 5 minutes after a refused
password, and as late as its Retry-After asks for, up to an hour.
"""
