"""What `deploy` keeps in a cluster about an app: the inventory of its objects and the deployment that is wanted.

inventory     the ConfigMap that lists an app's objects by UID, and its last deployment
"""
