"""The run: the directory that a training writes, the figures in it, and how it is stored and read.

    run              writes the directory as a whole, and opens it with checks
    run_records      content of run.json and the other files, and the code and hardware that made the run
    metrics          accuracy with its interval, confusion matrix, precision and recall by class
    model_quality    the verdict on a model, in one sentence
    report           report.html
    run_location     where a training works and writes its run or uploads it; settings that continue a run

In: a trained model with its answers to held-out images. Out: a directory that exists as a whole or not at all.
"""

ACCURACY, MEAN_RECALL = "accuracy", "mean recall"
"""Figures that a model is judged by: the share of right answers, and the mean of this share over the classes."""
