"""Which networks can be trained, and how one is built.

architectures         one table of them
architecture_choice   which one a training takes when none is named
keras_model           architecture > Keras model > SavedModel
half_precision        products in float16 where the device is made for it
"""
