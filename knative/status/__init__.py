"""Status of an app on a cluster: whether each part is ready, why not with the fix, and waiting until all are.

conditions       what an object's status says, and the values of a diagnosis
refusals         what kubelets, the scheduler, the API server and webhooks say, with the fix of each
pods             why a pod isn't ready
parts            the objects of an app other than the function, each with its readiness
traffic          the traffic and the annotation of a Service, in which the state of its rollout is stored
readiness        why a function isn't ready, and the wait until all are ready
site_status      all of that for a site's functions, as `eaves status` shows it; agents with their logs and queues

The package must never change an object, read the values of a Secret, or call a fault final that may still disappear by
itself.
"""
