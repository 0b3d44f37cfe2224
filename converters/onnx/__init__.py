"""Prepares exported ONNX graphs for serving.

graph            folds, fuses and names graphs, reads their signatures, and writes weights apart
adapter          adds the interface of every artifact to a declared model's graph
graph_rewrites   rewrites that no optimizer does
"""
