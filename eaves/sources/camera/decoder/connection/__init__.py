"""The connection to a camera.

opening      opens a stream with the options of its protocol
library_log  FFmpeg's log while a stream is opened
failures     reasons of failures, as codes and sentences
"""
