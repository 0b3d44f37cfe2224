"""Evaluates a model on the held-out images.

grouped_statistics  figures and bounds on images of which some belong together
metrics             accuracy with its interval, confusion matrix, precision and recall by class
calibration         calibration error of the scores, and the temperature that logits are divided by
model_quality       the verdict on a model, in one sentence
held_out            the model's answers to the held-out images, a file of the run
"""

ACCURACY, MEAN_RECALL = "accuracy", "mean recall"
"""Figures that a model is judged by: the share of right answers, and the mean of this share over the classes."""
