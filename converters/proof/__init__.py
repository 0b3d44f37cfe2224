"""The proof: the original and the artifact answer the same to the same encoded bytes.

parity             what both answered, compared
reference          the original's answers, asked in a child process
reference_process  that child: the model run as it came, with NumPy for what the converted graph does by itself
graph_predictions  what a graph answers to images, and how right that is
golden_images      which images travel with the artifact, and what it must answer to them
"""
