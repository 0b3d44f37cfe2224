"""Pages about a cluster: what their readers typed before, and their commands against a simulated cluster.

A block marked `runs: cluster` runs on a real cluster (`tests/e2e/docs`, --e2e). If it is also marked `simulated`, it
has only commands of Eaves, and `make test` runs it against the simulated API server and its controllers.
"""
