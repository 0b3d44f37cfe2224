"""Inspects a folder of labelled images before training.

    inspection       reads every file once and finds classes, sizes, copies and files that are not used
    descriptor       describes a picture by 448 numbers, without a network
    cached_features  loads feature vectors that an earlier training has cached
    label_doubts     finds images that look like another class
    page             renders the result as one HTML page

The inspection changes, moves and deletes no file.
"""
