"""Selects what a training begins with: backbone, size of the input, pixel scale of a file of weights, head's penalty.

All of it is decided by one measurement, the cross-validated answers of linear heads on the features of training images:

    linear_head       sums of features, the ridge's closed form and the softmax regression
    cross_validation  grouped cross-validation of heads, the rule that compares candidates, and nested cross-validation
    candidates        lists the backbones, sizes and scales that are compared, and computes features of images with one
    selector          measures the candidates; record of what was selected, its table, its file beside the checkpoints
"""
