"""Messages of an MQTT broker: images come in, events go out; the one importer of paho-mqtt.

message         received and published messages, a connection's settings, a broker's address, topic filters
connection      paho's client; reconnects for as long as the process lives; publishes and acknowledges
payload         image, sender's id and time in a received message; messages that are received and not stored yet
kind            the kind of source and its settings in eaves.yaml
source          the connection's thread hands messages over, the source's thread stores them
encoding        an event as a message: topic, payload and properties, by the CloudEvents binding or as plain JSON
home_assistant  discovery and state messages, so that each camera appears as sensors in Home Assistant
sink            publishes an event with QoS 1; a broker's reason codes as statuses of HTTP

All callbacks run on the connection's own thread, which must never wait for anything else, because only that thread
answers the broker's keepalive. The sink stores no event; an event counts as delivered when the broker has acknowledged
each message that was made from it.

Guarantees
----------
A message with QoS 1 is acknowledged after its event is on disk, in the order of arrival, and never before. If the agent
is killed before that, the broker sends the message again, as long as the broker keeps the agent's session. The
guarantee can't be stronger than the sender's: a message with QoS 0 is lost while no agent is connected, and dropped
when the queue is full.

Repeated messages
-----------------
A repeated message must become the same event, and two photos that are equal byte by byte must become two events. The
event's id is made of topic, image and

- the sender's id, if there is one: a CloudEvent's `source` and `id`, a user property of MQTT 5, a value in JSON. A
  message that is sent and received any number of times is then one event.
- otherwise the number of its arrival, which is new for each message, except for one that is received again (the broker
  says so, DUP) under the same packet id with the same topic and image and that was not acknowledged: a packet id is not
  used for another message before it is acknowledged, so that this is the same message. It keeps its number.

A message that was acknowledged and arrives again, because the connection or the broker ended before the acknowledgement
arrived, can't be distinguished from a new one with equal content: brokers reuse a packet id at once. It becomes a
second event, because a person can recognise a repetition but not a lost image. There are at most as many repetitions as
messages were unacknowledged (`in_flight`) at each reconnection or restart of the agent.

Full queue
----------
A broker sends an unacknowledged message again only on a new connection (tests/integration/mqtt/test_faults.py shows it
with mosquitto). So messages that were received are kept in memory, unacknowledged, and are stored and acknowledged on
the same connection once there is room; the broker sends no more than `in_flight` of them and keeps the rest. A broker
that speaks MQTT 3.1.1 may send more than `in_flight` messages. Those for which there is no room in memory are requested
by a new connection, once all earlier ones are stored.
"""
