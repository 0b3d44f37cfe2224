"""Prepares exported ONNX graphs for serving.

graph               reads signatures, names parts by the model alone, and writes weights apart
adapter             adds the interface of every artifact to a declared model's graph
graph_preparation   folds, fuses and names the graph with onnxruntime's optimizers
graph_rewrites      rewrites that no optimizer does
"""
