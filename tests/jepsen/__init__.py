"""Faults that are injected into the spool and into the link, and what must hold after each.

steps      what a client does with a spool, and an independent model of what the spool then holds
clients    the clients that are killed
forking    a process that forks them
killing    SIGKILL before any system call of a client, and calls that fail, by strace
power      what a disk may hold after a power cut, from a client's writes and syncs
damage     flipped bytes and torn pages in a spool's files
services   relay and receiver as processes that are killed and started again
jumping    a process under a wall clock that a test sets
sender     a sender that keeps each event until it is acknowledged
flapping   events over a flapping link while both ends are killed, and the comparison of both ends
draining   a backlog over a link that is back
"""
