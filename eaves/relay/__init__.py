"""Stores what a site has to tell the cloud, and forwards it when the link is up: `python -P -m eaves.relay`.

It takes CloudEvents over HTTP, from agents or from a Trigger, and answers with success once they are in its own durable
queue. One thread forwards them to a receiver (`eaves.receiver`) over kept connections, the most urgent class first, and
releases exactly what the receiver has answered for. It runs in the agent's container image, and its queue is
administered like an agent's.

settings        the process's settings
alarms          which events are alarms
intake          an event that came in > what is stored, and in which class
rejection       an event that no function took > the event that says so
forwarder       the thread that forwards
settlement      an answer or a failure > entries released, set aside or given up
sender          one request: entries at once, or a part of a large one
pack_ahead      the next request, packed and all but sent while one is under way
upload          a large body that is sent in parts
verdict         what a failed request says about the link, or about what was sent
turns           which entries the next request holds
failed_entries  entries that failed alone, and when each is tried again
foreign_entries entries of a site's former name, which wait together
traffic         what was sent and what came of it
batch_size      how much goes into one request
link_state      whether the link is up, and when it is tried next
throughput      how fast the link was
link_report     what the process reports of its link
backlog_age     how old the oldest waiting event is, whatever the clock does
"""
