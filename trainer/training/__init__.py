"""Trains a built model on decoded pixels.

fit                 trains by mode: the head, the top blocks or the whole network
training_task       input and result of a training
loop                the training loop;  checkpoint: the state that it resumes from
head, finetune      trains the linear head on features; trains the top blocks and the head
"""
