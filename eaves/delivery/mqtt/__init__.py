"""Publishing of events to an MQTT broker: the counterpart of `eaves.delivery.SinkClient`, which sends over HTTP.

settings          settings of a trigger with an mqtt:// or mqtts:// url, which names a broker and a topic template
message           payload and properties, by the CloudEvents MQTT binding or as plain JSON; the newest event of a topic
home_assistant    discovery and state messages, so that each camera appears as sensors in Home Assistant
sink              publishing an event with QoS 1; the connection to the broker; a broker's reason codes as statuses
                  of HTTP

An event counts as delivered when the broker has acknowledged each message that was made from it. This package stores no
event; the spool does.
"""
