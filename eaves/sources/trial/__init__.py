"""Trial of one source for `eaves sources try`: connect, take one image, and find out why there is none.

findings       values: the steps of a connection, the stream, the image, and the failure
address        an address, path or mapping on the command line > settings of a source
guest          settings with which a trial doesn't disturb an agent that reads the same source
server         steps to the server: its name, its TCP port, its certificate
source_run     runs the source with the agent's own context, and keeps its events in memory
stream         what the decoder of a camera found in its stream
failures       the reason why a source gives no image > its kind, with a hint
picture        brightness and contrast of an image, in numbers and in words
load           images an hour and bytes a day that the source will send
trial          all of these, in order

No event is sent, and no spool is opened. A trial writes nothing.
"""
