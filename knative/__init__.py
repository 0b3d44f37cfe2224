"""The Knative platform: `eaves.platform.Platform` at a site, which is a namespace of a cluster; trainings as Jobs.

    platform       the Protocol at one site
    settings       settings of clusters, rollouts and sites; cluster_dns: how they name a cluster's DNS
    multi_site     one operation on many sites
    client/        one API server as one user, in plain dicts; every room below is given one
    resources/     specs > objects as plain dicts, pure
    render/        every object of an app, as dicts and as commented YAML
    deploy/        one site updated or reconciled: objects applied, pinned, handed over, removed; the app's inventory
    gitops/        the files that a GitOps controller applies
    rollout/       shares of requests, and what decides about them
    diagnosis/     why a function isn't ready
    readiness/     whether the parts of an app are ready, and waiting for them
    status/        functions, parts, agents, queues and logs of a site
    doctor/        what will stand in the way of an app at a site
    training/      a Job that is made once and followed, and its run brought here

What it must never do: apply what `render` doesn't show, except for an app's inventory and the pins of its older
revisions, set `spec.traffic` as the field manager `eaves` (that is `eaves-rollout`'s, and the package `rollout`'s),
force a field that others own without being told to, wait without a limit, read `os.environ`, reach TensorFlow, import
`eaves.local` or `eaves.console` beside it, or be imported by what the edge's container images hold.
"""
