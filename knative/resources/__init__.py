"""Builders: specs and settings > Kubernetes objects as plain dicts. Pure: the same values give the same objects.

    function    the Knative Service                 agent     what runs a source: with a queue, on each node, or neither
    publisher   what publishes a trigger to MQTT    probe     a pod that tries addresses for the doctor
    relay       what forwards over the link         receiver  what takes that at the other end
    credentials a Secret as a folder in a pod
    eventing    Broker, Triggers, EventTypes        pin       keeps a container image on the nodes
    trigger_filters   what a Trigger lets through
    access      ServiceAccounts, NetworkPolicy      job       a training; jobsink, pipeline: what starts and follows one
    metadata    names and labels                    pod       what a pod that trusts nobody says
    reader      a pod that reads a run for us       spool     whether a queue's volume is large enough
    network     who may connect to pods             dns       where the function may look up names

Nothing here reads a file, the environment or a cluster. What is rendered is what is applied (`knative.rendering`).
"""
