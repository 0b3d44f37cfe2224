"""Trains a Keras model on labelled images, and evaluates it.

`trainer.train.train` reads labelled images with the recipe that serving uses, trains a Keras model and writes a *run*:
a directory with everything that conversion needs. A run exists as a whole or not at all. `python -m trainer` does the
same from a command line; the container of a training Job starts it.

    train                the whole training, step by step
    settings             settings of a training
    training_event       the `dataset.updated` event that starts a training
    data/                finds labelled images, splits them and decodes them to pixels
    model/               the table of architectures, and the Keras model of one architecture
    selection/           backbone, input size, pixel scale and head, selected by cross-validation on training images
    training/            training of the head or of the whole network, resumed from a checkpoint
    evaluation/          accuracy on the held-out images, and the temperature of the scores
    feature_cache        cache of the outputs of the frozen layers; prepares the next batches while a network computes
    run/                 the run directory, its upload and its files
    report/              report.html
    check                inspection of labelled images before training
    lifecycle            signals and exit codes;  progress: progress bars
    reader               command of the pod that serves a run over HTTP
    storage              files on disk or at a URI
    tensorflow_notices   prepares a process for TensorFlow, and keeps its messages off the terminal

A training writes only into its output, its cache and temporary folders, never chooses a model by its held-out images,
and never prints. tensorflow and keras are imported by `model.keras_model`, `training.fit` and the modules that these
import, and inside functions.
"""
