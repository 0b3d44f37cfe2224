"""The Knative platform: it implements `eaves.platform.Platform` for a site, and runs trainings as Jobs.

A site is a namespace of a cluster.

    platform       implements the Protocol for one site
    settings       settings of clusters, rollouts and sites; cluster_dns parses a cluster's DNS resolvers
    multi_site     runs one operation on many sites
    client/        a connection to one API server as one user, with objects as plain dicts; the packages below use it
    resources/     builds objects from specs as plain dicts; pure
    render/        renders every object of an app, as dicts and as commented YAML
    deploy/        updates or reconciles one site: applies, pins and removes objects; the app's inventory
    rollout/       shifts traffic between revisions, and decides when
    diagnosis/     finds the reason why a function isn't ready
    readiness/     checks whether the parts of an app are ready, and waits for them
    status/        reads functions, parts, agents, queues and logs of a site
    doctor/        finds problems of a site before an app is deployed to it
    training/      makes a Job, follows it, and downloads its run

This package must never apply an object that `render` doesn't show, except for an app's inventory. It must never set
`spec.traffic` as the field manager `eaves`: that field belongs to `eaves-rollout`, which is the package `rollout`. It
must never force a field that another manager owns unless the user asks for it, wait without a limit, or read
`os.environ`. It must not import TensorFlow, `eaves.local` or `eaves.console`, and the container images of the edge must
not import it.
"""
