"""Checks of the site's namespace, and of the objects that the app needs there.

namespace_limits   Pod Security, quotas, limit ranges, storage
secrets            Secrets that the app names
permissions        permissions of the current user
events             whether events are delivered
reachability       whether the app's addresses can be reached from inside the cluster
metrics            whether the metrics for rollouts can be read
"""
