"""Evaluates models on labelled images, and compares two models on the same images.

    images    labelled images, without those that a model was trained on and without copies of them
    models    a run, executed by TensorFlow, or an artifact, run by what serves it
    audit     what the audit sample says of models that serve
    metrics   accuracy with its interval, figures by class, calibration and times; the difference of two models

The package changes no model and no image.
"""
