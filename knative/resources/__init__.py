"""Builders of Kubernetes objects as plain dicts from specs and settings. Pure: the same values give the same objects.

    rendering           every object of an app at a site, in the order of applying, also as YAML files; and settings of
                        eaves.yaml that can't work together on a cluster
    function            the Knative Service, the DaemonSet that pins its container image, ServiceAccount, NetworkPolicy
    eventing            Broker, Triggers, EventTypes; an app's servers with a queue: relay, publishers to MQTT
    agent               the workload that runs a source, and what a source needs on a cluster
    standalone_servers  servers that belong to no app, with their settings: receiver, console
    federation          CronJobs of `eaves federate`, at a site and beside a receiver, with their settings
    workload            what all workloads share: Service, NetworkPolicy, StatefulSet, servers in pods
    pod                 what all pods share, and the user's fields of pods
    metadata            names and labels, and which objects belong to an app

This package reads no file, no environment and no cluster.
"""
