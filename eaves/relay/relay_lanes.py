"""Lanes of a relay's spool: those for the link to the receiver, and the lane of copies for the site's own Broker."""

ALARMS, ARCHIVE, IMAGES = "alarms", "archive", "images"
CLASSES = (ALARMS, ARCHIVE, IMAGES)
"""Lanes of the events that are forwarded over the link, the most urgent first."""
BROKER = "broker"
"""Lane of the events that are copied to the site's own Broker."""
FROM_BROKER = "/from-broker"
"""Path that the site's own Broker posts to; an event that arrives there is not copied to the Broker again."""
