"""The camera source, which takes frames from a video stream: RTSP, RTMP, MJPEG over HTTP, V4L2, or a file.

settings         settings of the kind in eaves.yaml
location         what an address names, and whether its server, device or file is there
login            the address with its credentials, and texts without them
reconnection     times of the next attempts
outage_report    reasons of an outage, for the state and the log
wire             messages between the source and the decoder, over pipes
decoder/         a process of its own for each camera: it reads the stream and writes whole JPEG images to a pipe
decoder_process  the decoder as its parent sees it: started, read by a thread, and ended
process_output   both pipes of a process, read by one thread
slot             the newest frame, handed from the reading thread to that of the source
capture          frames, passed to the agent
source           main loop, which uses these modules
kind             the kind of source

The decoder runs in a child process, because libraries that read video hang for good, crash, and leak memory. The parent
trusts no time limit of a library: it ends a decoder that is silent, by its own clock, and starts another one.
"""
