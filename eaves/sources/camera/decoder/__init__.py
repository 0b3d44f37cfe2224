"""The process that reads one stream: `python -P -m eaves.sources.camera.decoder`; the one importer of PyAV.

It reads a request (`eaves.sources.camera.wire`) from stdin, writes messages to stdout, and ends with its parent.

process   signals, memory limit, the end with the parent, and messages to it
opening   the stream, opened with the options of its protocol, or the reason why it can't be
reading   main loop: packets, frames, images; which packets are decoded, and which frames are sent
images    JPEG images: made of decoded frames, or checked and passed on
"""
