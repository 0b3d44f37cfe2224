"""The Knative platform: `eaves.platform.Platform` at a site, which is a namespace of a cluster; trainings as Jobs.

    settings, job_settings, receiver_settings    what can be set
    kinds, names, quantities     words of Kubernetes, and ours
    packaged                     a function's container image, by digest
    app/                         what an app lacks for a cluster, what runs its sources, what they connect to
    resources/                   specs > objects, pure
    rendering, comments, files   all objects of an app, as YAML, for GitOps

    cluster                      one API server as one user, in plain dicts; what is below is given one
    kubeconfig                   which, and as whom; the only importer of `kubernetes`
    transport, watching, refusal, silence    how it is asked, and what its answers mean
    client/                      kubeconfig files, login plugins, connections to pods' ports

    deploying, applied           objects into a cluster, and what became of each
    strangers, difference        what others made; what would change
    deploy/                     an app's inventory and its last deployment, its pins, its parts, its agents' logs
    owned, removal               an app's objects in a cluster, and out of it
    waiting, progress            until the function, or the whole app, is ready
    diagnosis/, doctor/          why it isn't; what will stand in the way
    rollout/                     shares of requests
    update, fleet                all of that at a site; any of it at many
    agents, pod_queue            what agents say of their queues; one agent's queue, by kubectl exec
    platform, state, addresses   the Protocol; status; the way in from outside
    training, trainings, joblog, verdict, retrieval    a Job made once, followed, and its run brought here

What it must never do: apply what `render` doesn't show, except for an app's inventory and the pins of its older
revisions, set `spec.traffic` as the field manager `eaves` (that is `eaves-rollout`'s, and the package `rollout`'s),
force a field that others own without being told to, wait without a limit, read `os.environ`, reach TensorFlow, import
`eaves.local` or `eaves.console` beside it, or be imported by what the edge's container images hold.
"""
