"""What one agent process consists of, beside the kinds of sources.

configuration   the settings of each source: what all sources have, and what its kind adds
kinds           the name of a kind > the kind, without loading any other
context         a frame from a source > an event in the spool: what a source sees of its agent
counters        what one source has done, for the report
supervision     runs one source in a thread, again and again
agent_spool     the spool, with what earlier agents left
deliverers      the spool > function and sink

Each source runs in a thread of its own: one that fails or waits holds up no other.
"""
