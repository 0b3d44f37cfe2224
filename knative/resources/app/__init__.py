"""Values of an app that a cluster needs before objects are built from them. Pure.

sources         what runs each source, its agent's settings, its addresses
destinations    every address of the app's sources, MQTT triggers and relay
"""
