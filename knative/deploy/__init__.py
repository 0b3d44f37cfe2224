"""Deploys to one site: recorded as the newest deploy, applied, rolled out, reconciled and removed.

site_update      deploys to one site, from the deploy's number to its rollout; repeats the recorded deploy, and advances
                 rollouts by one step
apply            applies objects in order and removes those that are no longer rendered; shows the differences
ownership        which objects of a cluster belong to the app, and their removal in order
function_image   resolves a function's container image at a registry, by digest
"""
