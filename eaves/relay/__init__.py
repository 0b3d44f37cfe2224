"""Stores what a site has to tell the cloud, and forwards it when the link is up: `python -P -m eaves.relay`.

It takes CloudEvents over HTTP, from agents or from a Trigger, and answers with success once they are in its own durable
queue. One thread forwards them to a receiver (`eaves.receiver`) over one kept connection, the most urgent class first,
and releases exactly what the receiver has answered for. It runs in the agent's container image, and its queue is
administered like an agent's.

settings        the process's settings
alarms          which events are alarms
intake          an event that came in > what is stored, and in which class
relay_lanes     the classes of events, as lanes of the spool
forwarder       the thread that forwards
requests/       one request to the receiver: how much, how it is sent, what a failure says
entry_selection which entries the next request holds
failed_entries  entries that failed alone, and when each is tried again
foreign_entries entries of a site's former name, which wait together
link_state      whether the link is up, and when it is tried next
link_report     what the process reports of its link
backlog_age     how old the oldest waiting event is, whatever the clock does
"""
