"""A model and labelled images > how good the model is on them, and how two models differ on the same images.

    labelled_images  the images, without those that the model was trained on
    model            the Protocol of what answers, and which implementation a name stands for
    artifact_model   an artifact, through the predictor and the session that serve it
    function_model   a running function, over HTTP
    run_model        a run, through TensorFlow in this process
    metrics          answers > accuracy with interval, classes, calibration, times
    paired_comparison  two models' answers to the same images > their difference
    page             figures > one HTML page

Nothing here changes a model, an image or a running function.
"""
