"""Inference with an artifact: a running function, a conversion and its checks use the same code.

    session       the ONNX session, the only module that uses onnxruntime for predictions
    session_pool  choice of sessions and threads by the number of concurrent predictions
    handler       handler.py: user code that makes the graph's input from bytes and the reply from its outputs
    replay        replays every golden case in a child process
    json_values   parses JSON into one example of the input, and converts values for a reply

This package knows neither HTTP nor a platform, and never imports packages that serve or convert.
"""
