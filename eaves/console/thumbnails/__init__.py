"""Thumbnails: small JPEGs of images that flowed, bounded in bytes.

maker      an encoded image > a small JPEG, or None
gallery    images and thumbnails for pages: kept ones in a file, or made when they are asked for
collector  makes a thumbnail of each new image while somebody looks

Only re-encoded pixels are kept and shown, so no metadata and no hostile structure of an image reaches a browser.
"""
