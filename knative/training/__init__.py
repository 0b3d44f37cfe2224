"""Trainings on a cluster: their objects, the Job while it runs, and the run that the Job leaves.

job_settings   the section `job` of eaves.yaml
job            a training as a Job
pipeline       the Job from a training to a published model, and the objects that start one when a data set changed
job_follower   makes a Job once, follows its log and its pods, reports its end, and explains a failure
run_download   downloads the run, also through a pod that serves a run that only pods can reach
"""
