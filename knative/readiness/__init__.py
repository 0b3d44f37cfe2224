"""Readiness of an app's parts: whether each is ready, the reason if it isn't, and waiting until all are.

parts         the objects of an app beside its function, each with its readiness
part_reader   reads them from a cluster
conditions    parts whose readiness is in their conditions
workloads     parts that run pods
wait          waits until a deployment is ready
wait_limit    limits a wait while a part has a fault
sink_bindings  makes Knative reconcile a SinkBinding whose sink is available again
progress      a deployment as rows of a table
"""
