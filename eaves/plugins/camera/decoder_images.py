"""JPEG images of a stream: encoded by FFmpeg from decoded frames, or checked and passed on as they are."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from av.bitstream import BitStreamFilterContext
from av.codec.context import CodecContext, ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

SCALE = 3
"""Quantiser scale of FFmpeg whose images have about the error of libjpeg's quality 90, in 23 % fewer bytes.

libjpeg multiplies the table of ITU-T T.81, annex K, by a percentage; FFmpeg multiplies MPEG-1's table, which is coarser
at low frequencies and finer for colours, by an eighth of the scale. Source: libjpeg, jcparam.c, jpeg_quality_scaling;
libavcodec/mpegvideo_enc.c, ff_convert_matrix; measured with photos of flowers."""
_FULL_RANGE: Literal["yuvj420p"] = "yuvj420p"
_TICK = Fraction(1, 25)
_BT709 = 1
"""Colour space of most HD streams; JPEG's is BT.601. Source: JFIF 1.02, page 2; libavutil/pixfmt.h, AVCOL_SPC_BT709."""
_TAIL_BYTES = 4_096
"""Number of bytes at the end that are searched for the end mark, because some cameras append padding."""
_MAX_SEGMENTS = 200
"""Maximum number of segments before the picture; cameras write about 20."""
_SOI, _EOI, _SOS, _DHT = b"\xff\xd8", b"\xff\xd9", 0xDA, 0xC4
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))


class JpegEncoder:
    """Encodes frames of any size and pixel format."""

    def __init__(self) -> None:
        self._count = 0
        self._context: VideoCodecContext | None = None

    def encode(self, frame: VideoFrame) -> bytes:
        """Return the frame as a JPEG image.

        Raises:
            av.error.FFmpegError: When the encoder refuses the frame.
        """
        is_bt709 = frame.colorspace == _BT709
        picture = frame.reformat(
            format=_FULL_RANGE,
            src_colorspace="ITU709" if is_bt709 else None,
            dst_colorspace="ITU601" if is_bt709 else None,
            dst_color_range="JPEG",
            threads=1,
        )
        context = self._context
        if context is None or (context.width, context.height) != (picture.width, picture.height):
            context = self._context = CodecContext.create("mjpeg", "w")
            context.time_base = _TICK
            context.width, context.height, context.pix_fmt = picture.width, picture.height, _FULL_RANGE
            context.thread_type, context.thread_count = ThreadType.NONE, 1
            context.qmin = context.qmax = SCALE
        # PyAV gives a frame without a time one by the tick of its stream, and FFmpeg refuses a time that it had before.
        picture.pts, picture.time_base = self._count, _TICK
        self._count += 1
        return b"".join(bytes(packet) for packet in context.encode(picture))


class JpegError(Exception):
    """A JPEG image that must not be passed on; the message says why."""


def check_jpeg(data: bytes, video: VideoStream) -> tuple[bytes, int, int]:
    """Check an image and return it without padding, with Huffman tables, and its width and height in pixels.

    Some cameras, V4L2's among them, leave out the Huffman tables, as Motion JPEG allows. A JPEG needs them.

    Raises:
        JpegError: When the image is incomplete or damaged.
    """
    if not data.startswith(_SOI):
        raise JpegError("the data are not a JPEG image")
    end = data.rfind(_EOI, max(0, len(data) - _TAIL_BYTES))
    if end < 0:
        raise JpegError("the JPEG image is incomplete")
    width, height, has_tables = _read_header(data, end)
    if not has_tables:
        return bytes(BitStreamFilterContext("mjpeg2jpeg", video).filter(Packet(data))[0]), width, height
    return data[: end + 2], width, height


def _read_header(data: bytes, end: int) -> tuple[int, int, bool]:
    """Return width, height, and whether Huffman tables precede the first scan."""
    position, size, has_tables = 2, None, False
    for _ in range(_MAX_SEGMENTS):
        if position + 4 > end or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        if marker == _SOS:
            if size is None:
                break
            return *size, has_tables
        if marker in _FRAMES and position + 9 <= end:
            size = int.from_bytes(data[position + 7 : position + 9]), int.from_bytes(data[position + 5 : position + 7])
        has_tables = has_tables or marker == _DHT
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    raise JpegError("the JPEG image is damaged")
