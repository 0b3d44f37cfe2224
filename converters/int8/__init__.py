"""Whether an int8 graph may replace the fp32 one: a candidate is picked on some images and judged on others.

`candidates` makes int8 graphs, `images` says which images are for what, `pick` looks at candidates on images of the
training side, `evidence` judges the picked one on images that nobody trained on, by labels or by agreement, and `words`
states the result for people. `converters.precision` calls them in this order.
"""
