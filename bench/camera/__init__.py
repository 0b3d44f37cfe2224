"""Benchmark of the camera source: CPU time and memory of four cameras, beside ffmpeg as the child and the floor.

section    the arms, and the figures
processes  the cameras' RTSP server, the agent, and other children
server     the RTSP server, run by Debian's Python
video      a 1080p H.264 stream
bare       a script that reads a stream with PyAV alone
"""
