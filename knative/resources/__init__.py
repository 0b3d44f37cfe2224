"""Builders of Kubernetes objects as plain dicts from specs and settings. Pure: the same values give the same objects.

    rendering   every object of an app at a site, in the order of applying, also as YAML files
    faults      settings of eaves.yaml that can't work together on a cluster
    function    the Knative Service, the DaemonSet that pins its container image, ServiceAccount and NetworkPolicy
    eventing    Broker, Triggers, EventTypes
    agent       the workload that runs a source, of whose settings `sources` knows what a cluster needs
    relay       the workload that forwards predictions over the link
    publisher   the workload that publishes a trigger's events to MQTT
    receiver    the workload that accepts events of many sites in the cloud, with its settings
    console     the workload that shows a site as web pages, with its settings
    metadata, pod, workload, server  what several of them share: names and labels, pods with the user's fields,
                Service, NetworkPolicy and StatefulSet, a container with one of Eaves' servers

This package reads no file, no environment and no cluster.
"""
