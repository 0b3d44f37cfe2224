"""What `deploy` keeps in a cluster about an app: the inventory of its objects and the deployment that is wanted.

inventory     the ConfigMap that lists an app's objects by UID, and its last deployment
intent        who deployed what last: each deploy takes the next number of a sequence
decision      what `reconcile` does at a site; pure
reconciling   one site taken one step towards what its cluster says is wanted
"""
