"""What a container image is made of.

layer             files > a layer, the same bytes everywhere
image             base + layers > config, manifest, index
artifact_layers   artifact > the layers that an update follows
cache             layers that take long to make
wheels            what a lock names, for another machine;  bytecode: compiled for another Python
subprocesses      a process that nothing outlives
"""
