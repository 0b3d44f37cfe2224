"""The files that a GitOps controller applies, and rollouts that are changed in those files.

gitops_files    rendered files, with revisions that have names
pin_files       pins stay while the Service's file names a revision of theirs
rollout_files   promote, rollback and shares, in the Service's file
"""
