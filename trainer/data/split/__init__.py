"""Decides which images are trained on and which are held out.

splitting         assigns each image to a side
groups            groups of images that stay on one side of the split
near_duplicates   finds pictures that look alike, and copies of one photo
proposals         proposes a value of `data.group_by` from names, folders and times
stored_split      the split in a run's `split.jsonl`;  earlier_run: finds the split of an earlier run
"""
