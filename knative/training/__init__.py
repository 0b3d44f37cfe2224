"""Trainings on a cluster: their objects, the Job while it runs, and the run that the Job leaves.

job_settings         the section `job` of eaves.yaml
job                  a training as a Job
jobsink, pipeline    the objects that start a training, and the steps from a training to a published model
training_manifests   renders the objects of a training by purpose
job_follower         makes a Job once, follows it, and reports its end
job_status           the end of a Job and its pods, or why they haven't started
job_log              parses lines of a training's log
job_failure          explains a failure
run_download         downloads the run
run_reader           the pod that serves a run that only pods can reach
"""
