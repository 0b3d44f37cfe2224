"""What a site says of its functions, their parts, and its agents.

function_status   functions and their revisions
app_parts         what an app consists of beside its function
agent_status      agents, publishers and relays: their pods, sources and queues
agent_queue       one agent's queue, by `kubectl exec`
agent_logs        what agents, publishers and relays wrote
"""
