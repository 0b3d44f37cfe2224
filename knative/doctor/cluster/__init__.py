"""Checks of the cluster.

versions, features             versions of the parts, and their feature flags
nodes, container_images        whether nodes have room, and can pull
networking_layer, dns          whether requests are routed and names are resolved
control_plane                  on which side of the link the control plane is, and whether clocks agree
"""
