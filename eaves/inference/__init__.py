"""Inference with an artifact: a running function, a conversion and its checks use the same code.

    onnxruntime         the only import of onnxruntime; `quantizer` has what only a conversion needs
    session             the ONNX session, and the choice of sessions and threads by the number of concurrent predictions
    prepared_graphs     finds the graph that was optimised for this machine, which `graph_preparation` makes
    handler             handler.py: user code that makes the graph's input from bytes and the reply from its outputs
    json_values         parses JSON into one example of the input, and converts values for a reply
    replay              replays every golden case in a child process
    child_process       work on foreign models in child processes

This package knows neither HTTP nor a platform, and never imports packages that serve or convert.
"""
