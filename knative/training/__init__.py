"""Trainings on a cluster: their objects, the Job while it runs, and the run that the Job leaves.

job            a training, or all steps from a training to a published model, as a Job, and what starts one by events
job_follower   makes a Job once, follows its log and its pods, reports its end, and explains a failure
run_download   downloads the run, from a volume by a pod that mounts it
"""
