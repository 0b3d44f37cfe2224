"""Finds the scale of pixel values that the weights of a backbone expect.

Weights fit only one scale of the pixels, and a file of weights doesn't name it.

    scales          table of the known scales                keras_digests  digests of the files that Keras publishes
    probe_images    selects training images for the probe    ridge          linear classifier with leave-one-out scores
    first_features  distance of a scale from the training    probe          chooses a scale from the measurements
    scale_choice    the choice and its reason, for run.json  stored_choice  the choice of a run that is not complete
    brightness      compares the images with photos          chooser        makes the choice, step by step

Only `first_features` imports Keras, and the chooser imports it inside a function. Held-out images are never used.
"""
