"""The camera source, which takes frames from a video stream: RTSP, RTMP, MJPEG over HTTP, V4L2, or a file.

kind             the kind of source and its settings in eaves.yaml
address          what an address names, and the address with its credentials
wire             messages between the source and the decoder, over pipes
decoder/         a process of its own for each camera: it reads the stream and writes whole JPEG images to a pipe
decoder_process  the decoder as its parent sees it: started, read by a thread, and ended
source           main loop, which uses these modules, hands frames to the agent, and connects again

The decoder runs in a child process, because libraries that read video hang for good, crash, and leak memory. The parent
trusts no time limit of a library: it ends a decoder that is silent, by its own clock, and starts another one.
"""
