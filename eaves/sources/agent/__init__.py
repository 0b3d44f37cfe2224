"""The parts of an agent process that all kinds of sources share.

configuration   the settings of each source: those of every source and those of its kind
context         a source's interface to its agent; stores a frame as an event in the spool
counters        counters and state of one source, for `eaves status`
supervision     runs one source in a thread, and restarts it
deliverers      deliver from the spool to function and sink

Each source runs in a thread of its own, so a source that fails or waits delays no other.
"""
