"""What a conversion starts from.

model_source      a run of ours, or a model that others made
declaration       `model.yaml`: what such a model doesn't tell of itself
model_interface   how a model is fed and read
untrusted_onnx    an ONNX file that others made, checked before anything else reads it
tensor_source     a model that is not about images
held_out          which images a run was trained on and which it held out
licences          under which licences the parts of an artifact were made
"""
