"""The lanes of a relay's spool: the classes of events, and the copy for the site's own Broker."""

ALARMS, ARCHIVE, IMAGES = "alarms", "archive", "images"
CLASSES = (ALARMS, ARCHIVE, IMAGES)
"""What goes over the link, the most urgent class first."""
BROKER = "broker"
"""What goes to the site's own Broker."""
FROM_BROKER = "/from-broker"
"""Where the site's own Broker posts: an event that comes from there gets no copy for it."""
