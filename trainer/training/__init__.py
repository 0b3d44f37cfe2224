"""Trains a built model on decoded pixels.

fit          a training's input and result; trains by mode: the head or the whole network, in a loop that resumes
checkpoint   the state that the loop resumes from
"""
