"""A folder of labelled images > what training would find in it, before anything is trained.

    inspection       reads every file once: classes, sizes, copies, files that are not used
    descriptor       a picture > 448 numbers, without any network
    cached_features  vectors of a network that an earlier training has kept
    label_doubts     vectors and labels > images that look like another class
    page             all of it as one HTML page

Nothing here changes, moves or deletes a file.
"""
