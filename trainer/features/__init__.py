"""What a frozen network makes of each image, computed once and kept.

features   computed, stored, read row by row
sharding   several pods, each of which computes its share of the images
"""
