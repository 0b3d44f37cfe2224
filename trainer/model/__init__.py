"""Defines the architectures that can be trained, and builds their models.

architectures         the tables of architectures and of pixel scales
keras_model           builds a Keras model of an architecture and saves it
"""
