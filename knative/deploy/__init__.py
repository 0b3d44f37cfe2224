"""Deploys to one site: recorded as the newest deploy, applied, rolled out, reconciled and removed.

site_update          deploys to one site, from the deploy's number to its rollout
app_apply            applies objects in order and removes those that are no longer rendered
diff                 shows what a deploy would change
deploy_sequence      records who deployed last; each deploy takes the next number
reconcile_decision   decides what `reconcile` does at a site; pure
reconciliation       carries out that decision
rollout_advance      advances every rollout of a namespace by one step
pins                 keeps on nodes the container images of revisions that serve or that a rollback returns to
removal              removes an app's objects from a cluster
function_image       resolves a function's container image at a registry, by digest
objects/             finds out which objects of a cluster belong to the app
"""
