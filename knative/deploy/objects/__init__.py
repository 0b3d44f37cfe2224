"""Which objects of a cluster are an app's own: recorded in an inventory, by UID.

inventory          the ConfigMap that lists an app's objects by UID, and its last deployment
ownership          which objects are the app's own, and which of them a deploy removes
labelled_objects   what carries an app's labels
legacy_objects     objects of versions of Eaves that kept no inventory
name_conflicts     what others made under a name that an app wants
apply_result       what became of an object that was applied
brokers            the Broker that apps of a namespace share
subscriptions      settings of a delivery that are taken away, taken from Subscriptions too
"""
