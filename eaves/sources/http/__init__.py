"""The http source, which requests a picture from a URL at an interval.

settings        settings of the kind in eaves.yaml
challenge       challenges of a server that requires a login (WWW-Authenticate)
digest          response to a challenge of the scheme Digest
authentication  answers challenges with credentials from files
redirects       allowed targets of redirects: within the same host only
completeness    whether an image was received completely
client          requests a picture and returns a snapshot
snapshot_identity  distinguishes one snapshot from another
source          main loop over these
kind            the kind of source

The source sends GET requests to one host only, keeps at most one snapshot in memory, and never gives up on a camera. A
camera that gives no picture is asked again within a minute, after `every_s` when that is longer, 5 minutes after a
refused password, and as late as its Retry-After asks for, up to an hour.
"""
