"""Defines the architectures that can be trained, and builds their models.

architectures         the table of architectures
architecture_choice   chooses the architecture of a training that names none
keras_model           builds a Keras model of an architecture and saves it
half_precision        multiplies in float16 on devices with tensor cores
"""
