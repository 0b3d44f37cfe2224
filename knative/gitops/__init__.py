"""Files for a GitOps controller, and rollouts that are changed in those files.

gitops_files    writes rendered files, with named revisions
pin_files       keeps pins while the Service's file names a revision of theirs
rollout_files   changes traffic in the Service's file: promote, rollback and shares
"""
