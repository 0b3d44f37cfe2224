"""Rendering of every object of an app at a site, in the order of applying, as plain dicts and as commented YAML.

rendering        builds and writes the objects
field_comments   comments that explain fields
faults           settings that eaves.yaml lacks for a cluster
relay_faults     settings that eaves.yaml lacks for a relay on a cluster
"""
