"""Decides whether a pipeline may publish a model.

A model is evaluated as it would be served, from its artifact, on images that its run held out. Its accuracy is compared
with a floor, and its answers with those of the models that were published before: the last, the best, and the one that
serves after a rollback. Too little evidence never counts as a pass. This package trains and publishes nothing.
"""
