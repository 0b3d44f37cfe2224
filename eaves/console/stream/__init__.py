"""Server-sent events: one thread owns the sockets of all open streams and writes to them.

feed      messages, and what makes them
encoding  a message > the bytes of an event stream
client    one open stream: its socket, and what it hasn't accepted yet
topic     the streams with the same query, and their feed
server    the thread

Source: HTML Living Standard, section 9.2, Server-sent events.
"""

from eaves.console.stream.feed import MAX_CATCH_UP, Feed, StreamMessage
from eaves.console.stream.server import StreamServer
from eaves.console.stream.topic import StreamSubscription

__all__ = ["MAX_CATCH_UP", "Feed", "StreamMessage", "StreamServer", "StreamSubscription"]
