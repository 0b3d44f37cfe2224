"""How the pixels must be scaled for the weights that a backbone starts from.

Weights fit one scale of the pixels only, and a file of weights doesn't name it.

    scales          the scales that are known, as data          keras_digests  Keras's own files, by their digests
    probe_images    the training images that are probed         ridge          a classifier; leaves out what it judges
    first_features  a scale's distance from the training        probe          what was measured > the choice
    scale_choice    what was chosen and why, for run.json       stored_choice  the choice of a run that is not complete
    brightness      whether the images are like photos          chooser        all of it, in order

`first_features` alone imports Keras, and the chooser imports it inside a function. Held-out images are never looked at.
"""
