"""How the pixels must be scaled for the weights that a backbone starts from.

Weights fit one scale of the pixels only, and a file of weights doesn't name it.

    scales          the scales that are known, as data          keras_digests  Keras's own files, by their digests
    selection       the training images that are probed         ridge      a classifier that leaves out what it judges
    first_features  a scale's distance from the training        probe      what was measured > the choice
    scale_choice    what was chosen and why, for run.json       stored     the choice of a run that is not complete
    chooser         all of it, in order

`first_features` alone imports Keras, and the chooser imports it inside a function. Held-out images are never looked at.
"""
