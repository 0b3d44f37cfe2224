"""Decides which images are trained on and which are held out.

splitting         assigns each image to a side; `split.jsonl` and `held_out.jsonl`, and the split of an earlier run
groups            groups of images that stay on one side of the split, and proposals of a value of `data.group_by`
near_duplicates   finds pictures that look alike, and copies of one photo
"""
