"""eaves.yaml as commands use it.

project            the sections of all packages composed into one file, and read
new_project        the text of a new eaves.yaml
settings_table     the table of all settings, for `eaves settings`
app_specs          the app as specs: on this machine, or at each site
sources            its sources as this machine runs them
triggers           its triggers and its relay as this machine runs them
event_attributes   names in triggers that no event has
"""
