"""The lanes of an agent's spool."""

IMAGES, REPLIES = "sink", "replies"
"""Images, wherever they go; predictions on their way to the sink."""
LANES = (IMAGES, REPLIES)
