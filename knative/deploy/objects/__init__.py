"""Ownership of objects in a cluster: an inventory records by UID which objects belong to an app.

inventory          the ConfigMap that lists an app's objects by UID, and its last deployment
ownership          finds the objects that belong to the app, and those of them that a deploy removes
labelled_objects   finds objects that carry an app's labels
name_conflicts     finds objects of other owners that have the name of one of the app's objects
apply_result       the outcome of applying an object
brokers            removes and keeps the Broker that apps of a namespace share
subscriptions      removes delivery settings from Subscriptions when they are removed from Triggers
"""
