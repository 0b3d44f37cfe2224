"""The Knative platform: `eaves.platform.Platform` on a cluster. Its parts arrive with the cluster work.

What it will do: `knative.resources` builds the objects (Service, Trigger, SinkBinding, Job, ...) as plain values, pure
and tested against the real CRD schemas; `knative.cluster` reads, applies and deletes them, and is the only module that
talks to a cluster; `knative.kubeconfig` is the only importer of `kubernetes`. `render` shows exactly what `deploy`
would apply.

What it must never do: set `spec.traffic` under the field manager `eaves` (that is `eaves-rollout`'s), apply what it did
not render, read `os.environ`, reach TensorFlow, import `eaves.local` or `eaves.console` beside it, or be imported by
what the edge's container images hold.
"""
