"""Kinds of sources and of sinks that Eaves brings along; each uses only what another package may use, too.

camera   source: frames of a video stream
mqtt     source and sink: messages of an MQTT broker
s3       source: objects of a bucket
replay   source: a recording, played in order

The entry points of pyproject.toml register them, in the groups `eaves.sources` and `eaves.sinks`. No other part of
Eaves imports this package, and pyproject.toml lists the modules that it may import; docs/sources.md has the same
list.
"""
