"""What several kinds of objects have in common. Pure.

labels            labels, annotations and field managers that what Eaves applies carries
metadata          names and labels of objects
pod               what a pod that trusts nobody says
credentials       a Secret as a folder in a pod
network_peers     who may connect to pods
trigger_filters   what a Trigger lets through
quantities        processors and memory, as Kubernetes writes them; whether a queue's volume is large enough
"""
