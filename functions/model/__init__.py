"""The served model: it is loaded, checked, and used by the pipeline of its task.

model_loading      opens it and replays its golden images; it is then ready, or failed with a reason
pipeline           the tasks `classify`, `embed` and `tensor`: prepare the input, run the session, present the outputs
"""
