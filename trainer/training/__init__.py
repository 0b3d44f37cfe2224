"""How a built model is trained on decoded pixels.

fit                 by mode: `head`, `finetune`, or everything
training_task       what every way of training is given, and what it leaves
loop                batches in, a trained model out;  checkpoint: what it resumes from
head, finetune      the linear head on features; the top blocks and the head
stuck               when a training gets nowhere
"""
