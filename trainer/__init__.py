"""Trains a Keras model on labelled images, and evaluates it.

`trainer.train.train` reads labelled images with the recipe that serving uses, trains a Keras model and writes a *run*:
a directory with everything that conversion needs. A run exists as a whole or not at all. `python -m trainer` does the
same from a command line; the container of a training Job starts it.

    train                the whole training, step by step
    settings             settings of a training
    training_event       the `dataset.updated` event that starts a training
    data/                finds labelled images, splits them and decodes them to pixels
    model/               architectures; what a training begins with, by cross-validation; training, resumed
    grouped_statistics   shares of right answers and their bounds, where the images of a group count together
    calibration          the temperature of the scores
    run/                 the run directory: its figures, verdict and report, its upload and its files
    check                inspection of labelled images before training
    lifecycle            signals and exit codes;  progress: progress bars
    storage              files on disk or at a URI
    tensorflow_notices   prepares a process for TensorFlow, and keeps its messages off the terminal

A training writes only into its output, its cache and temporary folders, never chooses a model by its held-out images,
and never prints. tensorflow and keras are imported by `model.keras_model`, `model.fit` and the modules that these
import, and inside functions.
"""
