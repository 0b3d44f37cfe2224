"""Decides whether an int8 graph may replace the fp32 one: selects a candidate on some images and assesses it on others.

precision_choice   the decision, step by step: two candidates, one of them selected and assessed
images             the images of each purpose, by the sides that the run stores
quantizer          quantises fp32 graphs to int8;  equalizer: measures and equalises the ranges of channels first
evidence           assesses the candidate on unseen images, by labels or by agreement with fp32, and explains the result
"""
