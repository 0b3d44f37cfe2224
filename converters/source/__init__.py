"""The model that a conversion starts from.

model_source      a run, or a foreign model
declaration       `model.yaml`, which describes a foreign model
model_interface   input and outputs of a model
untrusted_onnx    checks a foreign ONNX file before anything else reads it
tensor_source     a model that doesn't take images
held_out          which images a run was trained on and which it held out
licences          licences of the parts of an artifact
"""
