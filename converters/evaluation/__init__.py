"""Evaluates models on labelled images, and compares two models on the same images.

    labelled_images    the images, without those that the model was trained on
    trained_images     photos that are copies of images that a model was trained on
    model              the Protocol of an evaluated model, and the implementation that a name stands for
    artifact_model     an artifact, run by the predictor and the session that serve it
    function_model     a running function, called over HTTP
    run_model          a run, executed by TensorFlow in this process
    metrics            accuracy with its interval, figures by class, calibration and times
    paired_comparison  the difference of two models on the same images
    page               renders the figures as one HTML page

The package changes no model, no image and no running function.
"""
