"""What `deploy` knows about an app in a cluster: its own objects, by UID, and the deployment that is wanted.

inventory     the ConfigMap that lists an app's objects by UID, and its last deployment
intent        the deployment that is wanted: its number, who made it and when
decision      what `reconcile` does about it
reconciling   does it
advancing     the rollouts of a namespace, each taken one step further
ownership     which objects of a cluster are the app's own, and which of them a deploy removes
former        objects of versions of Eaves that kept no inventory
handover      an agent on nodes ends before another one takes its spool
brokers       the Broker that apps share: removed once no Trigger uses it, kept for whoever deploys meanwhile
subscriptions settings of a delivery that are taken away, where Knative leaves them in the Subscription
bindings      SinkBindings that Knative is made to look at again once their sink is back
pins          the pins of the revisions that serve or that a rollback returns to; those that nothing needs go
pin_files     the same in a folder of rendered files
app_parts     what an app consists of beside its function, as `status` shows it
agent_logs    what agents, publishers and relays wrote
"""
