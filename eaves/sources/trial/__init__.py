"""Trial of one source for `eaves sources try`: connect, take one image, and find out why there is none.

address   an address, path or mapping on the command line > settings of a source, which disturb no agent
server    steps to the server: its name, its TCP port, its certificate
failures  the reason why a source gives no image > its kind, with a hint
trial     runs the source with the agent's own context until it has an image, and keeps its events in memory

No event is sent, and no spool is opened. A trial writes nothing.
"""
