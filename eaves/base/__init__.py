"""Foundations that every package may import: time, numbers, files, text. They import no other package of Eaves.

backoff, clock         pauses between attempts; a clock that tests can control
timestamps             RFC 3339 timestamps, parsed and written
files, disk_errors     atomic writes and paths of Unix sockets; errors of full and read-only disks
locks                  locks between processes; the hidden directory in which a result is made before it is renamed
strict_json            JSON exactly as RFC 8259 defines it
names, terminal        allowed names; escapes that make foreign text safe to show on a terminal
statistics             intervals of a share, and bounds of a paired difference
allocator, telemetry   returns freed memory to the system; the variables that switch telemetry off
"""
