"""An artifact answers: the same code in a running function, in a conversion and in its checks.

    session       the ONNX session, the only user of onnxruntime for predictions
    handler       handler.py: a user's own way from bytes to the graph's input and from its outputs to the reply
    replay        every golden case in a child process
    json_tensor   JSON > one example of the input
    json_values   what goes into a reply: values that JSON can hold

It knows neither HTTP nor a platform, and never imports what serves or converts.
"""
