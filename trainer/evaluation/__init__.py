"""What the held-out images say about a model.

metrics         accuracy with its interval, confusion matrix, figures by class
calibration     how likely scores make the truth, and how far they are from what is right
temperature     what logits are divided by, so that scores mean what they say
model_quality   what the result is worth, in a sentence
"""
