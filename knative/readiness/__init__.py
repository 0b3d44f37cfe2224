"""Readiness of an app's parts: whether each is ready, the reason if it isn't, and waiting until all are.

parts         the objects of an app other than its function, each with its readiness
part_reader   reads the parts and their readiness from a cluster
conditions    readiness of parts that run no pods, from their conditions
workloads     readiness of parts that run pods
wait          waits until a deployment is ready
wait_limit    limits a wait while a part has a fault
sink_bindings  makes Knative reconcile a SinkBinding whose sink is available again
progress      a deployment as rows of a table
"""
