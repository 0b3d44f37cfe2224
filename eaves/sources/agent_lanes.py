"""Lanes of an agent's spool."""

IMAGES, REPLIES = "sink", "replies"
"""Lane of images, whatever their destination, and lane of predictions for the sink."""
LANES = (IMAGES, REPLIES)
