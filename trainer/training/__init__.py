"""Trains a built model on decoded pixels.

fit                 trains by mode: the head or the whole network
training_task       input and result of a training
loop                the training loop of the whole network
checkpoint          the state that the loop resumes from
"""
