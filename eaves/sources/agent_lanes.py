"""Names of the lanes in an agent's spool."""

IMAGES, REPLIES, UPLOADS, FORWARDS = "sink", "replies", "uploads", "forwards"
"""Lane of captured images, which go to the function or the sink; lane of predictions, and of images that are forwarded
with them, which go to the sink; and lanes of large images, which go to their bucket before their events go further:
those that have no prediction yet, and those that are forwarded with theirs."""
LANES = (IMAGES, REPLIES, UPLOADS, FORWARDS)
