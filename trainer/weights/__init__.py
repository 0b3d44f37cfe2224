"""How the pixels must be scaled for the weights that a backbone starts from.

Weights fit one scale of the pixels only, and a file of weights doesn't name it.

    scales     the scales that are known, as data           known      Keras's own files, by their digests
    selection  the training images that are probed          ridge      a classifier that leaves out what it judges
    probe      one accuracy for each scale > the choice     choice     what was chosen, by what, as run.json tells it
    stored     the choice of a run that is not complete     chooser    all of it, in order

Nothing here imports TensorFlow: the chooser is given the backbone. Held-out images are never looked at.
"""
