"""Images > run: the cloud half of Eaves.

`trainer.train.train` reads a folder per class through the recipe, trains a Keras model and leaves a *run*: a directory
that holds everything conversion needs, and that exists as a whole or not at all. `python -m trainer` is the same from a
command line, and is what a training Job's container starts.

    settings    what can be set                          dataset    folder per class > labelled, split examples
    registry    the architectures                        pixels     examples > one uint8 array, broken images listed
    model       architecture > Keras model > SavedModel  fit        trains the head, or everything
    metrics     what the held-out images say             run        the run directory: written whole, opened checked
    progress    what a person watches meanwhile          train      all of it, in order

It never writes outside its output directory (and a temporary one), never chooses a model by its held-out images, and
never prints. tensorflow and keras are imported by `model` and `fit` only, and inside functions of `registry`.
"""
