"""Faults that are injected into the spool and into the link, and what must hold after each.

steps      what a client does with a spool, and an independent model of what the spool then holds
forking    a process that forks the clients that are to be killed
killing    SIGKILL before any system call of a client, by strace
damage     flipped bytes and torn pages in a spool's files
"""
