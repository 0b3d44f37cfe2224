"""What commands on clusters share.

platform_options    which platform and sites a command is for, and how their clusters are reached
multi_site          one operation on many sites, and an exit code for all of them
container_images    which container image a command is for
site_deployment     a container image brought to sites
deploy_notes        what a workspace notes of its deploys
traffic             the share of requests set: `rollout`, `promote`, `rollback`
rollout_status      a row for each revision
remote_training     a training as a Job, and its run brought here
"""
