"""The http source, which requests a picture from a URL at an interval.

kind    the kind of source, with its settings in eaves.yaml
login   answers challenges (WWW-Authenticate) by Basic or Digest
client  requests a picture: follows redirects within the same host, and checks that the image is complete
source  distinguishes one picture from another; main loop, which uses these modules

The source sends GET requests to one host only, keeps at most one picture in memory, and retries without limit. A camera
that gives no picture is asked again within a minute, or after `every_s` when that is longer. It is asked again 5
minutes after it has refused a password, and after the time in its Retry-After header, up to an hour.
"""
