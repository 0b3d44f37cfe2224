"""Defines the architectures that can be trained, selects what a training begins with, and trains it.

    architectures         the tables of architectures and of pixel scales;  efficientnet_lite: the default one
    keras_model           builds a Keras model of an architecture and saves it
    feature_cache         cache of the outputs of the frozen layers; prepares the next batches while a network computes
    linear_head           the ridge's closed form and the softmax regression on features
    candidates            backbones, sizes and scales that are compared, and cross-validation of heads on their features
    selector              measures the candidates on training images; record of what was selected, and why
    feature_sums          sums of features that add and subtract; kept_sums: those that a run keeps
    anomaly               methods that find unusual images, the choice of one, and its threshold
    checkpoint            the state that a training resumes from
    fit                   trains the head or the whole network, in a loop that resumes

A selection and a training never see the held-out images, but for the curves of a training and its calibration.
"""
