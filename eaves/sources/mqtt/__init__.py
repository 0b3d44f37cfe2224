"""Messages from an MQTT broker > frames.

kind       the kind `mqtt`
settings   what eaves.yaml may say of it
payload    a message > image, sender's id, time; raw, base64 in JSON, CloudEvents in both modes
json_path  a value in JSON by its path
arrivals   numbers for messages whose sender gives no id
message_handoff  what was received and is not stored yet, within a bound
source     the connection's thread hands over, the source's thread stores and acknowledges

What is promised
----------------
A message with QoS 1 is acknowledged after its event is on disk, in the order of arrival, and never before. Whatever is
killed in between, the broker sends it again, as long as the broker keeps its session. The promise can't be stronger
than the sender's: a message published with QoS 0 is lost when nobody is there, and dropped when the queue is full.

Which messages are the same
---------------------------
A message that comes again must become the same event, and two photos that are equal byte by byte must become two. The
event's id is made of topic, image and

- the sender's id, where there is one: a CloudEvent's `source` and `id`, a user property of MQTT 5, a value in JSON. A
  message may then be sent and received as often as it likes: it is one event.
- otherwise the number of its arrival, which is new for each message, except for one that is received again (the broker
  says so, DUP) under the same packet id with the same topic and image and that was not acknowledged: a packet id is not
  used for another message before it is acknowledged, so that this is the same message. It keeps its number.

A message that was acknowledged and comes again, because the connection or the broker ended before the acknowledgement
had arrived, can't be told from a new one with equal content: brokers use a packet id again at once. It becomes a second
event, as a repeat can be recognised by who looks at it and a lost image can't. There are at most as many repeats as
messages were unacknowledged (`in_flight`) at each reconnection or restart of the agent.

When the queue is full
----------------------
A broker sends an unacknowledged message again only on a new connection (tests/integration/mqtt/test_faults.py shows it
with mosquitto). So messages that were received are kept in memory, unacknowledged, and are stored and acknowledged on
the same connection once there is room; the broker sends no more than `in_flight` of them and keeps the rest. Only
what didn't fit into the slot (a broker that speaks MQTT 3.1.1 has its own window) is asked for by a new connection,
after all before it is stored.
"""
