"""Defines the architectures that can be trained, and builds their models.

architectures         the table of architectures
keras_model           builds a Keras model of an architecture and saves it
"""
