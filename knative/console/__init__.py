"""The console of a site: `python -P -m knative.console` serves the pages of `eaves.console` inside the cluster.

inside_cluster   reads agents at their pods' addresses, so that the console needs no right to reach other pods
site_backend     implements `eaves.console.backend.Backend` on the site
"""
