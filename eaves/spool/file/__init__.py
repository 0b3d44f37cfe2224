"""The SQLite file of a spool.

database          opening, writing with group commit, reading and watching the file
spool_file        replacing the file when it is damaged
schema            the tables, and the upgrade from the previous version
lease             a lock that one process holds at a time
sqlite_errors     errors of SQLite and the file system as SpoolError with hints
write_ahead_log   repairing the write-ahead log after a crash
frame_checksum    the log's checksum, and finding a byte that changed
damaged_file      reading what is left of a damaged file
salvage           copying the readable part of a damaged file into a new file
"""
