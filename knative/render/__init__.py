"""Every object of an app at a site, in the order they are applied, as plain dicts and as commented YAML.

rendering        makes and writes them
field_comments   why a field is as it is
faults           what eaves.yaml lacks for a cluster
relay_faults     what eaves.yaml lacks for a relay in a cluster
"""
