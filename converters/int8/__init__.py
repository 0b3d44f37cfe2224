"""Whether an int8 graph may replace the fp32 one: a candidate is picked on some images and judged on others.

precision_choice      all of it, in order
labelled_split        labelled images: those to fit to, and those to judge on;  unlabelled: the same without labels
images                which images are for what
calibration           what each channel of each tensor is like on real images
quantizer             fp32 > int8;  equalizer: channels brought to like ranges before
sensitivity           which convolutions int8 hurts most
candidates            int8 graphs, with more and more layers in fp32
candidate_selection   looks at candidates on images of the training side
evidence              judges the picked one on images that nobody trained on, by labels or by agreement
explanation           the result for people
"""
