"""Publishing events to an MQTT broker: a sink for the deliverer, as `eaves.delivery.SinkClient` is one over HTTP.

settings        what eaves.yaml says of a trigger whose url is mqtt:// or mqtts://
target          that url > the broker's address and a topic template
topic           a template and an event > the topic of its message
message         an event > payload and properties, by the CloudEvents MQTT binding or as plain JSON
home_assistant  an event > discovery and state messages, so that each camera appears as sensors
discovery       tells Home Assistant everything anew, at most so often
newest_event    which of several events is the newest, where the last one is kept
broker_link     the connection to one broker, shared by those who publish to it
acknowledgements  a broker's reason codes > answers with the status of the same meaning
sink            events > messages with QoS 1 > one answer
link_factory    what a trigger says > its link

An event counts as delivered once the broker has acknowledged each message that was made of it. Nothing here keeps an
event: the spool does.
"""
