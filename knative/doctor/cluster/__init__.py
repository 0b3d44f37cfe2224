"""Checks of the cluster itself.

versions, features             which versions run, with which feature flags
nodes, container_images        whether nodes have room, and can fetch
networking_layer, dns          whether requests and names get through
control_plane                  on which side of the link it is, and whether clocks agree
"""
