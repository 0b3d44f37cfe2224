"""Builders: specs and settings > Kubernetes objects as plain dicts. Pure: the same values give the same objects.

    function    the Knative Service                 agent     what runs a source: with a queue, on each node, or neither
    publisher   what publishes a trigger to MQTT    reachability_pod  a pod that tries addresses for the doctor
    relay       what forwards over the link         receiver  what takes that at the other end, by receiver_settings
    eventing    Broker, Triggers, EventTypes        pin       keeps a container image on the nodes
    access      ServiceAccounts, NetworkPolicy
    app/        an app's sources and addresses as a cluster sees them
    fields/     what several kinds of objects have in common

Nothing here reads a file, the environment or a cluster. What is rendered is what is applied (`knative.render`).
"""
