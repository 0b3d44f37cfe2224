"""The parts of one agent process, without the kinds of sources.

configuration   the settings of each source: the common ones and those of its kind
kinds           loads a kind by its name, without any other kind
context         a source's interface to its agent; stores a frame as an event in the spool
counters        numbers and state of one source, for the report
supervision     runs one source in a thread, and restarts it
agent_spool     the spool, with the contents of earlier agents' spools
deliverers      deliver from the spool to function and sink

Each source runs in a thread of its own, so a source that fails or waits delays no other.
"""
