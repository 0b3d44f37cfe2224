"""Whether the parts of an app are ready, why not, and waiting until they are.

parts         the objects of an app beside its function, each with whether it is ready
part_reader   reads them from a cluster
conditions    parts whose own conditions say so
workloads     parts that run pods
wait          until what was deployed is ready
wait_limit    how long a wait goes on while a part is wrong
sink_bindings  has Knative look again at a SinkBinding whose sink is back
progress      a deployment as rows of a table
"""
