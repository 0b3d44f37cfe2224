"""Publisher of events to an MQTT broker on a cluster: `python -P -m eaves.publisher` is one trigger's subscriber.

The publisher takes CloudEvents over HTTP, as a Knative Trigger delivers them, answers with success once an event is in
its own durable queue, and publishes from there (`eaves.delivery.mqtt`), however long the broker is unreachable. It runs
in the agent's container image, and its queue is administered like an agent's. The local platform doesn't need it,
because its broker has such a queue itself.
"""
