"""Reads a stream with PyAV and nothing else: `python bare.py URL copy|keys`.

`copy` reads the packets and decodes nothing, which is the floor. `keys` decodes the key frames and writes them to the
standard output as JPEG images, which is the work of a decoder without anything that makes it safe.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import av


def main(url: str, what: str) -> None:
    with av.open(url, options={"rtsp_transport": "tcp", "analyzeduration": "0", "fpsprobesize": "0"}) as container:
        stream = container.streams.video[0]
        stream.codec_context.skip_frame = "NONKEY"
        encoder = None
        for packet in container.demux(stream):
            if what == "copy" or not packet.is_keyframe:
                continue
            for frame in packet.decode():
                if encoder is None:
                    encoder = av.CodecContext.create("mjpeg", "w")
                    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
                    encoder.framerate, encoder.options = Fraction(25), {"q": "3"}
                    encoder.qmin = encoder.qmax = 3
                image = frame.reformat(format="yuvj420p", dst_color_range="JPEG")
                image.pict_type = av.video.frame.PictureType.NONE
                for encoded in encoder.encode(image):
                    sys.stdout.buffer.write(bytes(encoded))
                    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
