"""ONNX graphs, from what was exported to what is served.

graph               signature read; names that depend on the model alone; written with weights apart
adapter             a declared model's graph between the interface that every artifact has
graph_preparation   folded, rewritten, named: still fp32, still any CPU's
graph_rewrites      rewrites that no optimizer does
optimizer           onnxruntime's own
variants            fp32 graphs for single instruction sets
"""
