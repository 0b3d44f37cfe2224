"""Checks of the cluster.

versions, features             versions of Kubernetes and Knative, and Knative's feature flags
nodes, container_images        whether nodes have room, and can pull
networking_layer, dns          whether requests are routed and names are resolved
control_plane                  whether the control plane is at the edge, and whether clocks agree
"""
