"""Reading and writing of eaves.yaml, and the specs of apps that are built from it.

project            the dataclass of eaves.yaml, made of the sections of all packages, and its loader
new_project        the text of a new eaves.yaml
settings_table     the table of all settings, for `eaves settings`
app_specs          the app as specs: on this machine, or at each site
sources            the sources in eaves.yaml as this machine runs them
triggers           the triggers and the relay in eaves.yaml as this machine runs them
event_attributes   warnings of attribute names in triggers that no event has
"""
