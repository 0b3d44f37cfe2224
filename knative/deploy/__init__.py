"""What `deploy` keeps in a cluster about an app: the inventory of its objects and the deployment that is wanted.

inventory     the ConfigMap that lists an app's objects by UID, and its last deployment
pins          the pins of the revisions that serve or that a rollback returns to; those that nothing needs go
pin_files     the same in a folder of rendered files
"""
