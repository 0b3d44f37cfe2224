"""Checks of the site's namespace, and of what the app needs there.

namespace_limits   Pod Security, quotas, limit ranges, storage
secrets            Secrets that the app names
permissions        what the current user may do
events             whether events arrive
reachability       whether the app's addresses can be reached from inside
metrics            whether the metrics that a rollout is judged by can be read
"""
