"""Inference with an artifact: a running function, a conversion and its checks use the same code.

    session       the ONNX session, and the choice of sessions and threads by the number of concurrent predictions
    child_process work on foreign models in child processes
    handler       handler.py: user code that makes the graph's input from bytes and the reply from its outputs
    replay        replays every golden case in a child process
    json_values   parses JSON into one example of the input, and converts values for a reply

This package knows neither HTTP nor a platform, and never imports packages that serve or convert.
"""
