"""Names of the lanes in an agent's spool."""

IMAGES, REPLIES = "sink", "replies"
"""Lane of captured images, which go to the function or the sink, and lane of predictions, which go to the sink."""
LANES = (IMAGES, REPLIES)
