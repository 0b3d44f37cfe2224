"""Reading and writing of eaves.yaml, and the specs of apps that are built from it.

project            the dataclass of eaves.yaml, made of the sections of all packages, and its loader
new_project        the text of a new eaves.yaml
settings_table     the table of all settings, for `eaves settings`
app_specs          the specs of the app for this machine and for each site
sources            the sources in eaves.yaml, with paths for this machine
source_argument    a source on the command line: an address, a path, a .yaml file, or a mapping
triggers           the triggers and the relay in eaves.yaml, with paths for this machine
event_attributes   warnings about event attributes that a trigger names although no event has them
"""
