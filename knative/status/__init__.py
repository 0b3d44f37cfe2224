"""Reads the status of a site: its functions, the parts of their apps, and its agents.

function_status   functions, their revisions, and the other objects of their apps
agents            agents, publishers and relays: their pods, sources, queues and logs
agent_queue       one agent's queue, by `kubectl exec`, and the retry of images that a revision refused before it lost
                  all requests
"""
