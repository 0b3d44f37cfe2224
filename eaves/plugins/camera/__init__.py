"""The camera source, which takes frames from a video stream: RTSP, RTMP, MJPEG over HTTP, V4L2, or a file.

kind              the kind of source and its settings in eaves.yaml
address           what an address names, and the address with its credentials
messages          messages between the source and the decoder, over pipes
decoder           a process of its own for each camera, `python -P -m eaves.plugins.camera.decoder`: signals, limits
decoder_opening   in it: the stream, opened with the options of its protocol, or the reason why it can't be
decoder_reading   in it: packets, frames, images; which packets are decoded, and which frames are sent
decoder_images    in it: JPEG images, made of decoded frames, or checked and passed on
decoder_process   the decoder as its parent sees it: started, read by a thread, and ended
source            main loop, which uses these modules, hands frames to the agent, and connects again

The decoder runs in a child process, because libraries that read video hang for good, crash, and leak memory. The parent
trusts no time limit of a library: it ends a decoder that is silent, by its own clock, and starts another one.
"""
