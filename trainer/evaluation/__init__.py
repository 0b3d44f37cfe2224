"""Evaluates a model on the held-out images.

grouped_statistics  figures and bounds on images of which some belong together
metrics             accuracy with its interval, precision and recall by class; calibration of the scores
model_quality       the verdict on a model, in one sentence
"""

ACCURACY, MEAN_RECALL = "accuracy", "mean recall"
"""Figures that a model is judged by: the share of right answers, and the mean of this share over the classes."""
