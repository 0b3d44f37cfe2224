"""What `deploy` brings to a cluster and what the cluster keeps of it.

inventory     the ConfigMap that lists an app's objects by UID, and its last deployment
app_parts     what an app consists of beside its function, as `status` shows it
agent_logs    what agents, publishers and relays wrote
"""
