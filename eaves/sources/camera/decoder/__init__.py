"""The process that reads one stream: `python -P -m eaves.sources.camera.decoder`; the one importer of PyAV.

It reads a request (`eaves.sources.camera.wire`) from stdin, writes messages to stdout, and ends with its parent.

process          signals, memory limit, and the end with the parent
connection/      the stream, opened with the options of its protocol, or the reason why it can't be
session          one stream from its opening to its end
reading          main loop: packets, frames, images
selection        which packets are decoded, and which frames are sent
capture_time     capture times from stream times and arrivals
jpeg             check of JPEG images that are passed on
encoder          JPEG images from decoded frames
output           writes messages to the parent
"""
