"""eaves.yaml as commands use it.

project            the rooms' sections composed into one file, read and written
app_specs          the app as specs: on this machine, or at each site
sources            its sources as this machine runs them
triggers           its triggers and its relay as this machine runs them
event_attributes   names in triggers that no event has
"""
