"""Proves that the original and the artifact give the same outputs for the same encoded bytes.

parity             compares the outputs of both
reference          runs the original in a child process
reference_process  the child process: the unchanged model, with NumPy for the steps that the converted graph adds
graph_predictions  predictions of a graph for images, and their accuracy
golden_images      golden images of the artifact and their expected outputs
"""
