"""The http source, which requests a picture from a URL at an interval.

settings        settings of the kind in eaves.yaml
challenge       challenges of a server that requires a login (WWW-Authenticate)
digest          response to a challenge of the scheme Digest
authentication  answers challenges with credentials from files
redirects       allowed targets of redirects: within the same host only
completeness    whether an image was received completely
client          requests a picture and returns it with the answer's headers
snapshot_identity  distinguishes one snapshot from another
source          main loop, which uses these modules
kind            the kind of source

The source sends GET requests to one host only, keeps at most one picture in memory, and retries without limit. A camera
that gives no picture is asked again within a minute, or after `every_s` when that is longer. It is asked again 5
minutes after it has refused a password, and after the time in its Retry-After header, up to an hour.
"""
