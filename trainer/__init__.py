"""Images > run: the cloud half of Eaves.

`trainer.train.train` reads labelled images through the recipe, trains a Keras model and leaves a *run*: a directory
that holds everything conversion needs, and that exists as a whole or not at all. `python -m trainer` is the same from a
command line, and is what a training Job's container starts.

    settings    what can be set                          dataset     images, wherever they are > split examples
    event       a `dataset.updated` event                data/       folders, manifests, archives, URIs, near copies
    registry    the architectures                        pixels      examples > one uint8 array, broken images listed
    weights/    what pixels become for a backbone's first weights
    model       architecture > Keras model > SavedModel  fit         by mode: head, finetune, or everything
    features    outputs of what is frozen, cached        share       several pods fill that cache together
    loop        the training loop, resumed at its step   checkpoint  what it resumes from
    storage     files by name, on disk or at a URI       lifecycle   signals, exit codes
    run         the directory: whole, opened checked     place       where it goes;  publish: to a URI and back
    metrics     what the held-out images say             calibration  scores: their likelihood and error
    training/   the temperature, the verdict, a training that is stuck, the settings that continue a run
    records     what run.json and the other files say    report      the same for people;  provenance: made by what
    page        the frame of pages for people            charts      their pictures
    progress    what a person watches meanwhile          train       all of it, in order

It never writes outside its output, its cache and temporary folders, never chooses a model by its held-out images, and
never prints. tensorflow and keras are imported by `model`, `fit` and what this imports, and inside functions.
"""
