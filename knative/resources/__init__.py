"""Builders of Kubernetes objects as plain dicts from specs and settings. Pure: the same values give the same objects.

    function    the Knative Service
    agent       the workload that runs a source: with a queue on a volume, on each edge node, or without a queue
    publisher   the workload that publishes a trigger's events to MQTT
    relay       the workload that forwards predictions over the link
    receiver    the workload that accepts events of many sites in the cloud; receiver_settings: its settings
    console     the workload that shows a site as web pages; console_settings: its settings
    reachability_pod  the pod that tries addresses for the doctor
    eventing    Broker, Triggers, EventTypes
    pin         the DaemonSet that keeps a container image on the nodes
    access      ServiceAccounts, NetworkPolicy
    app/        an app's sources and addresses as a cluster needs them
    fields/     fields that several kinds of objects share

This package reads no file, no environment and no cluster. `knative.render` shows the same objects that are applied.
"""
