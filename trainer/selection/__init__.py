"""Selects what a training begins with: the backbone, the size of its input, its pixel scale, and the head's penalty.

All of it is decided by one measurement, the cross-validated answers of linear heads on the features of training images:

    linear_head       sums of features, the ridge's closed form and the softmax regression
    cross_validation  grouped cross-validation of heads, the rule that compares candidates, and nested cross-validation
    candidates        lists the backbones and sizes that the settings, the images and the installed weights allow
    selection         record of what was selected, and its table
    selector          measures the candidates, and stores the result for a resumed run and the other pods of a Job
"""
