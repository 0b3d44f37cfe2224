"""Names of the lanes in an agent's spool."""

IMAGES, REPLIES, UPLOADS = "sink", "replies", "uploads"
"""Lane of captured images, which go to the function or the sink; lane of predictions, and of images that are forwarded
with them, which go to the sink; and lane of large images, which go to their bucket before their events go further."""
LANES = (IMAGES, REPLIES, UPLOADS)
