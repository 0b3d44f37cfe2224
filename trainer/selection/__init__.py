"""Selects what a training begins with: backbone, size of the input, pixel scale of a file of weights, head's penalty.

All of it is decided by one measurement, the cross-validated answers of linear heads on the features of training images:

    linear_head   the ridge's closed form and the softmax regression
    candidates    lists the backbones, sizes and scales that are compared, and computes features of images with one;
                  grouped and nested cross-validation of heads, and the rule that compares candidates
    selector      measures the candidates; record of what was selected, its table, its file beside the checkpoints
"""
