"""Features of each image from a frozen network, computed once and cached.

feature_cache   computes and stores features, and reads them by image
sharding        divides the images among several pods, each of which computes its share
"""
