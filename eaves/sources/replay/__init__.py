"""The replay source: images of a folder or an archive, one after the other, for demonstrations and for load.

settings   what eaves.yaml may say of it
recording  the images of a folder, a .zip or a .tar, one after the other
source     the loop over these
kind       all of it as a kind of source

It plays what is there when a round begins, and never writes to it. A folder that is to be watched is for the kind
`folder`.
"""
