"""Publishing of events to an MQTT broker: the counterpart of `eaves.delivery.SinkClient`, which sends over HTTP.

settings          settings of a trigger with an mqtt:// or mqtts:// url
target            the broker's address and the topic template in that url
topic             the topic of a message, from the template and an event
message           payload and properties, by the CloudEvents MQTT binding or as plain JSON
home_assistant    discovery and state messages, so that each camera appears as sensors in Home Assistant
discovery         publishing all Home Assistant messages again, at a limited rate
newest_event      finding the newest of several events for topics that keep only the last one
broker_link       the connection to one broker, shared by all its publishers
acknowledgements  a broker's reason codes as HTTP statuses of the same meaning
sink              publishing an event with QoS 1
link_factory      building the broker link for a trigger

An event counts as delivered when the broker has acknowledged each message that was made from it. This package stores no
event; the spool does.
"""
