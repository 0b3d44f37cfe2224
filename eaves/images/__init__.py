"""Encoded bytes > (H, W, 3) uint8 RGB: the one decoder of training, conversion and serving.

`envelope` and `tiff` read a file's structure and keep only what its first picture needs; `decoder` gives that to
Pillow. What a sender may put beside the pixels (EXIF, profiles, comments, further pictures) never reaches Pillow's
parsers: of these a 20 MB file can ask for gigabytes of memory or minutes of work. docs/04-function.md says what each
kind of image becomes.
"""

from eaves.images.decoder import FORMATS, MAX_PIXELS, Pixels, decode, load

__all__ = ["FORMATS", "MAX_PIXELS", "Pixels", "decode", "load"]
