"""Foundations that every package may import: time, files, text and numbers.

clock, backoff         a clock that tests can control, and timestamps; pauses between attempts
files, disk_errors     atomic writes and paths of Unix sockets; errors of full and read-only disks
locks                  locks between processes; the hidden directory in which a result is made before it is renamed
strict_json            JSON exactly as RFC 8259 defines it
names, terminal        allowed names; escapes that make foreign text safe to show on a terminal
prometheus, telemetry  Prometheus' text format; the variables that switch the telemetry of dependencies off
statistics             intervals of a share, and bounds of a paired difference
"""
