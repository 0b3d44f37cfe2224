"""The image decoder that sources, training, conversion and serving share: encoded bytes > (H, W, 3) uint8 RGB.

`envelope` and `tiff` parse a file's structure and keep only what its first picture needs; `decoder` passes that to
Pillow; `pixels` makes an array from the result. Anything else that a sender may put into the file (EXIF, profiles,
comments, further pictures) never reaches Pillow's parsers, as a 20 MB file can make them use gigabytes of memory or
minutes of CPU time. docs/function.md describes how each kind of image is converted.

This file imports nothing: an agent that parses a file's structure needs no Pillow, and one that decodes needs no NumPy.
"""

MAX_PIXELS = 50_000_000
"""Maximum number of pixels by the header; 50 megapixels take 200 MB when decoded."""
