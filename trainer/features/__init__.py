"""What a frozen network makes of each image, computed once and kept.

feature_cache   computed, stored, read row by row
sharding        several pods, each of which computes its share of the images
"""
