"""The local platform: one machine, one command, the same contract as Knative.

`deploy` writes a spec file into the state directory; `eaves up` (the supervisor) reconciles it: a broker that keeps
every accepted event in the spool until it is delivered, function processes from zero to `scale.max` and back, agents
for the sources. It never clusters, and never imports what it runs: functions and agents are processes started like
containers.
"""
