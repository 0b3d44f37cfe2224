"""Trains a built model on decoded pixels.

fit          a training's input and result; trains by mode: the head or the whole network
loop         the training loop of the whole network
checkpoint   the state that the loop resumes from
"""
