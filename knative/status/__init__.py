"""Reads the status of a site: its functions, the parts of their apps, and its agents.

function_status   functions and their revisions
app_parts         the objects of an app other than its function
agent_status      agents, publishers and relays: their pods, sources and queues
agent_queue       one agent's queue, by `kubectl exec`
agent_logs        logs of agents, publishers and relays
refused_images    retry of images that a revision refused before it lost all requests
"""
