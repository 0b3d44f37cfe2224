"""Heads from many sites: what a site sends instead of its images, and the head that is made of it.

A site sums the features of its labelled images, which the deployed artifact computes, and sends the sums; the merged
sums of all sites give the head that all their images together would give: that of classes, or what good images look
like at each position. The site then judges this head on images that it holds out. No image and no image's digest leaves
a site. What a site needs imports neither TensorFlow nor onnx.
"""
