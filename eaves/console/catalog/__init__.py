"""Runs and artifacts as pages show them: directories that other people may have made > values that a template prints.

    directories         text and JSON of limited size from a directory, never from outside it
    figures             shares with the number of images and the interval, differences, sizes, as words
    catalog             opens the runs and artifacts that a platform names; `overview`: the list of all of them
    runs/               a run's page, its confusion matrix, and the comparison of two runs
    photos              a run's held-out photos and an artifact's golden images, found by their digest
    artifact_page       what the page of an artifact shows; `artifact_comparison`: two artifacts
    golden_check        a function's answers to the golden images, compared with the recorded ones
    update_size         the bytes of an update

The package runs no model and imports neither TensorFlow nor onnxruntime. It imports NumPy and Pillow, so pages import
it when they are opened. Content that isn't what Eaves writes raises an EavesError with a message for people.
"""
