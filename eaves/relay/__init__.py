"""Process that stores a site's events and forwards them to the cloud: `python -P -m eaves.relay`.

The relay takes CloudEvents over HTTP, from agents or from a Trigger, and answers with success once they are in its own
durable queue. One thread forwards them to a receiver (`eaves.receiver`) over one kept connection, the most urgent lane
first, and releases exactly those events that the receiver's answer accounts for. The relay runs in the agent's
container image, and its queue is administered like an agent's.

settings        the process's settings
alarms          which events are alarms
intake          which events are stored for one that arrives, and in which lanes
relay_lanes     the lanes of the relay's spool
link_sender     requests to the receiver: batches, single images, and large ones in parts
link_speed      how much the next request holds, and how long it may take
link_report     reports on the link
backlog_age     age of the oldest waiting event, independent of changes of the wall clock
"""
