"""An app at a site, updated: recorded as the newest deploy, applied, rolled out, reconciled, removed.

site_update          a deploy to one site, from its number to its rollout
app_apply            objects applied in order; those no longer wanted removed
diff                 what a deploy would change
deploy_sequence      who deployed what last: each deploy takes the next number
reconcile_decision   what `reconcile` does at a site; pure
reconciliation       does it
rollout_advance      every rollout of a namespace one step on
handover             an agent on nodes ends before another one takes its spool
pins                 the container images that serve or that a rollback returns to stay on nodes
removal              an app's objects out of a cluster
function_image       a function's container image at a registry, by digest
objects/             which objects of a cluster are the app's own
"""
