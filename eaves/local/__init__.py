"""The local platform: runs functions on one machine with the same contract as Knative.

`eaves deploy` writes a spec file into the state directory, and `eaves up` (the supervisor) starts and stops processes
until they agree with the spec files. It runs a broker that keeps every accepted event in the spool until it is
delivered, function processes from zero to `scale.max` replicas, agents for the sources, and a relay that forwards
events over the link. Functions, agents and relays are child processes that are started like containers. The platform
never forms a cluster of several machines.
"""
