"""The served model: it is loaded, checked, and used by the predictor of its task.

model_loading      opens it and replays its golden images; it is then ready, or failed with a reason
predictor          the Protocol of every task's predictor;  tasks: selects the predictor of an artifact
pipeline           the steps that tasks share: prepare the input, run the session, present the outputs
classifier         the task `classify`
embedder           the task `embed`
tensor_predictor   the task `tensor`
"""
