"""Server-sent events: one thread owns the sockets of all open streams and writes to them.

Source: HTML Living Standard, section 9.2, Server-sent events.
"""
