"""Decides whether an int8 graph may replace the fp32 one: selects a candidate on some images and assesses it on others.

precision_choice      the decision, step by step
labelled_split        labelled images to fit to and to assess on;  unlabelled: photos without labels
images                the images of each purpose
calibration           ranges of each channel of each tensor, measured on images
quantizer             quantises fp32 graphs to int8;  equalizer: equalises the ranges of channels first
sensitivity           ranks convolutions by the error of rounding them
candidates            int8 graphs with increasing numbers of fp32 layers
candidate_selection   selects a candidate on images of the training side
evidence              assesses the candidate on unseen images, by labels or by agreement with fp32
explanation           the result as a sentence for people
"""
