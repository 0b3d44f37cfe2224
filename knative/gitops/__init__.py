"""Files for a GitOps controller such as Argo CD or Flux, and rollouts by changes of those files.

gitops_files    writes rendered files, with named revisions
pin_files       keeps the file of a pin while the Service's file names a revision that needs the pin
rollout_files   changes traffic in the Service's file: promote, rollback and shares
"""
