"""Unit tests of `converters/onnx`."""
