"""What every room may import: time, numbers, files, text. Nothing here imports another room.

backoff, clock         pauses between attempts; the time, which tests can turn
timestamps             RFC 3339, read and written
files, disk_errors     the one atomic write, paths of Unix sockets; what a full disk becomes
locks                  locks between processes; the folder in which what is made next has its place until it is whole
strict_json            JSON as RFC 8259 has it and nothing else
names, terminal        what things may be called; what makes text of others safe to show on a terminal
statistics             intervals of a share, and bounds of a paired difference
allocator, telemetry   freed memory back to the system; the variables that switch telemetry off
"""
