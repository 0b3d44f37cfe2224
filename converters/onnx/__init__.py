"""Prepares exported ONNX graphs for serving.

graph               reads signatures, names parts by the model alone, and writes weights apart
adapter             adds the interface of every artifact to a declared model's graph
graph_preparation   folds, rewrites and names the graph, which stays fp32 and portable
graph_rewrites      rewrites that no optimizer does
optimizer           the optimizers of onnxruntime
variants            fp32 graphs for single instruction sets
"""
