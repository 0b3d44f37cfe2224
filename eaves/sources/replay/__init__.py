"""The replay source, which plays the images of a folder or an archive in order, for demonstrations and load tests.

kind       the kind of source, with its settings in eaves.yaml
recording  reads the images of a folder, a .zip or a .tar in order
source     main loop, which uses these modules

It plays the images that exist when a round begins, and never writes to the folder. To watch a folder, use the kind
`folder`.
"""
