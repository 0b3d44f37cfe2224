"""Runs and artifacts as pages show them: directories that other people may have made > values that a template prints.

    catalog     opens the runs and artifacts that a platform names, and lists them
    run_files   a run's files and photos, of limited size, never from outside its directory
    run_page    what the page of a run shows
    confusion   what a model takes for what, and the photos of it

The package runs no model and imports neither TensorFlow nor onnxruntime. It imports NumPy, so pages import it when
there is something to show. Content that isn't what Eaves writes raises an EavesError with a message for people.
"""
