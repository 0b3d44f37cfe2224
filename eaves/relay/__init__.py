"""Process that stores a site's events and forwards them to the cloud: `python -P -m eaves.relay`.

The relay takes CloudEvents over HTTP, from agents or from a Trigger, and answers with success once they are in its own
durable queue. One thread forwards them to a receiver (`eaves.receiver`) over one kept connection, the most urgent lane
first, and releases exactly those events that the receiver's answer accounts for. The relay runs in the agent's
container image, and its queue is administered like an agent's.

settings        the process's settings
alarms          which events are alarms
intake          which events are stored for one that arrives, and in which lanes
relay_lanes     the lanes of the relay's spool
forwarder       the thread that forwards
requests/       requests to the receiver: their size, how they are sent, what a failure says
entry_selection which entries the next request holds
failed_entries  entries that failed alone, and when each is retried
foreign_entries entries under the site's former name, which wait together
link_state      whether the link is up, and when it is tried next
link_report     reports on the link
backlog_age     age of the oldest waiting event, independent of changes of the wall clock
"""
