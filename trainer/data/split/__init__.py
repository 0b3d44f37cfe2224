"""Which images are trained on, and which are held out.

splitting         which images are held out
groups            what stays on one side of the split
near_duplicates   copies of one photo, and shots that look alike
stored_split      a run's split, kept;  earlier_run: and found again
legacy_split      the split of runs that kept none
"""
