"""The Knative platform: `eaves.platform.Platform` at a site, which is a namespace of a cluster; trainings as Jobs.

    settings, job_settings    what can be set            kinds, names, quantities   words of Kubernetes, and ours
    resources/                specs > objects, pure      packaged                   a container image by digest
    rendering, comments       the objects of an app      files                      the same for GitOps

    cluster                   one API server as one user, in plain dicts: the one that all below are given
    kubeconfig, transport, watching, refusal, silence    its parts; kubeconfig is the only importer of `kubernetes`

    deploying, difference     objects into a cluster     waiting, progress          until they are ready
    diagnosis/, doctor/       why not; and beforehand    rollout/                   shares of requests
    update                    all of that at a site      fleet                      any of it at many
    platform, state           the Protocol               addresses                  the way in from outside
    training, trainings, joblog, verdict, retrieval      a Job made once, followed, and its run brought here

What it must never do: apply what `render` doesn't show, set `spec.traffic` as the field manager `eaves` (that is
`eaves-rollout`'s, and the package `rollout`'s), force a field that others own without being told to, wait without a
limit, read `os.environ`, reach TensorFlow, import `eaves.local` or `eaves.console` beside it, or be imported by what
the edge's container images hold.
"""
