"""Trainings in a cluster: the objects they take, a Job that is followed, and the run that it leaves.

job_settings         the section `job` of eaves.yaml
job                  a training as a Job
jobsink, pipeline    what starts a training, and what follows it to a published model
training_manifests   all of these by what they are for
job_follower         a Job made once, watched, told how it ended
job_status           how a Job and its pods ended, or why they haven't begun
job_log              lines that its pods write
job_failure          why it failed
run_download         its run, brought here
run_reader           the pod that reads a run for us where only pods reach it
"""
