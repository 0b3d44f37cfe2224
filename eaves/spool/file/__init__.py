"""The SQLite file of a spool.

database          opened, written with group commit, read and watched
spool_file        replaced by a new one when it is damaged
schema            its tables, and the step from the version before
lease             the right to do something, for one process at a time
sqlite_errors     what SQLite and the file system complain about, as errors with hints
write_ahead_log   the log after a crash;  frame_checksum: which bytes of it were changed
damaged_file      what can still be read;  salvage: carried into a new file
"""
