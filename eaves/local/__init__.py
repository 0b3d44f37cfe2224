"""The local platform: one machine, one command, the same contract as Knative.

`deploy` writes a spec file into the state directory; `eaves up` (the supervisor) reconciles it: a broker that keeps
every accepted event in the spool until it is delivered, function processes from zero to `scale.max` and back, agents
for the sources, a relay for what is to go over the link. It never clusters, and runs nothing of that itself: functions,
agents and relays are processes started like containers.
"""
