"""An app as a cluster sees it, before any object is made of it. Pure.

sources         what runs each source, what its agent is told, what it connects to
destinations    every address of its sources, MQTT triggers and relay
"""
