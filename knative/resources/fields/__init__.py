"""Fields that several kinds of objects share. Pure.

labels            names of labels, annotations and field managers
metadata          names and labels of objects
pod               fields of a pod with minimal rights
credentials       a Secret as a folder in a pod
network_peers     peers that may connect to pods
trigger_filters   filters of Triggers
quantities        Kubernetes quantities of CPU and memory; the required size of a queue's volume
"""
