"""Images > run: the cloud half of Eaves.

`trainer.train.train` reads labelled images through the recipe, trains a Keras model and leaves a *run*: a directory
that holds everything conversion needs, and that exists as a whole or not at all. `python -m trainer` is the same from a
command line, and is what a training Job's container starts.

    train                all of it, in order
    settings             what can be set
    training_event       a `dataset.updated` event
    data/                images, wherever they are > split examples > pixels
    model/               the architectures, and a Keras model of one
    pixel_scale/         the scale that pixels need for a backbone's first weights
    training/            by mode: a head, the top blocks, or everything; resumed at its step
    evaluation/          what the held-out images say, and the temperature of the scores
    features/            outputs of what is frozen, kept
    run/                 the directory, where it goes, and what its files say
    report/              the same for people, and the frame of all pages
    check/               what training would find in a folder of images
    lifecycle            signals and exit codes;  progress: what a person watches meanwhile
    reader               the command of the pod that serves a run over HTTP
    storage              files by name under one place, on disk or at a URI
    tensorflow_notices   kept off the terminal

It never writes outside its output, its cache and temporary folders, never chooses a model by its held-out images, and
never prints. tensorflow and keras are imported by `model.keras_model`, `training.fit` and what this imports, and inside
functions.
"""
