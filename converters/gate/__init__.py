"""What a pipeline asks of a model before it publishes it.

A model is judged as it would be served, from its artifact, on images that its run held out: its accuracy against a
floor, and its answers against those of the model that it replaces, which is the one published last at the same place.
Too little evidence never counts as a pass. This package trains and publishes nothing.
"""
