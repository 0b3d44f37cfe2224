"""Benchmark of the camera source: its cost, its outages, and the time from capture to prediction.

video       a 1080p H.264 stream whose frames carry their number
server      a real RTSP server that loops it, run by Debian's Python
cameras     such servers, which can be stopped and continued
sink        receives events, and notes when they came
agent       the real agent with camera sources
ffmpeg      the same work by Debian's ffmpeg as the child
cost        CPU time and memory of both, and of the floor
outages     how long until a silent camera is noticed, and until it is back
reconnects  memory of an agent over many reconnects
latency     from capture to prediction
size        size of PyAV and of Debian's ffmpeg on disk
section     the figures
"""
