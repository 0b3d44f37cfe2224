"""Output of commands: results on stdout, messages on stderr.

output                results as a table, JSON or YAML on stdout, messages on stderr
table                 tables that fit the terminal
cell_text             times, sizes, ids and reasons as people read them
artifact_view         an artifact as text
event_view            the best prediction in an event
collection_progress   progress of a collection of images, for `eaves init`
"""
