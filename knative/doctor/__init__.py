"""Checks of a site before an app is deployed to it. They take a cluster and return findings with fixes.

    cluster_checks  the site that is examined, and checks of its cluster: versions, networking layer, DNS, nodes
    app_checks      checks of what the app needs: settings, admission, container images, Broker, permissions
    runner          runs every check in turn

This package must never change an object or read a Secret. A check that the user's permissions or the network prevent is
reported as such.
"""

from knative.doctor.runner import examine

__all__ = ["examine"]
