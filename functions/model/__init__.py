"""The model: loaded, checked, then asked by task.

model_loading      opened, its golden images replayed, then ready; or failed, with the reason
predictor          what every task answers to;  tasks: which one serves an artifact
pipeline           what tasks share: prepare, run the session, say what came out
classifier         the task `classify`
embedder           the task `embed`
tensor_predictor   the task `tensor`
"""
