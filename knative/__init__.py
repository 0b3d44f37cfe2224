"""The Knative platform: it implements `eaves.platform.Platform` for a site, and runs trainings as Jobs.

A site is a namespace of a cluster.

    settings     settings of clusters, rollouts and sites
    client/      a connection to one API server as one user, with objects as plain dicts
    resources/   builds all objects of an app from specs, as dicts and as YAML; pure
    inventory    the list of an app's objects in a cluster, and the record of its last deployment
    status/      whether the parts of an app are ready and why not; agents, queues and logs; waits until all are ready
    rollout/     shifts traffic between revisions, and decides when
    deploy/      updates or reconciles one site: applies, pins and removes objects
    training/    makes a Job, follows it, and downloads its run
    doctor/      finds problems of a site before an app is deployed to it
    platform     implements the Protocol for one site
    multi_site   runs one operation on many sites
    console      the process that shows a site as web pages: `python -P -m knative.console`

This package must never apply an object that `render` doesn't show, except for an app's inventory. It must never set
`spec.traffic` as the field manager `eaves`: that field belongs to `eaves-rollout`, which is the package `rollout`. It
must never force a field that another manager owns unless the user asks for it, wait without a limit, or read
`os.environ`. It must not import TensorFlow, `eaves.local` or `eaves.console`, and the container images of the edge must
not import it.
"""
