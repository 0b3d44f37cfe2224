"""Computes the features of each image once, with a frozen network, and caches them.

feature_cache   computes and stores features, and reads them by image
sharding        divides the images among several pods, each of which computes its share
"""
