"""Code that commands on clusters share.

platform_options    options that select the platform and the sites, and connections to their clusters
multi_site          one operation on many sites, and an exit code for all of them
container_images    selection of the container image that a command deploys
site_deployment     deployment of a container image to sites
deploy_notes        a workspace's notes of its deploys
traffic             changes of a revision's share of requests, for `rollout`, `promote` and `rollback`
rollout_status      the table of `eaves rollout`, a row for each revision
remote_training     a training as a Job, and the download of its run
"""
