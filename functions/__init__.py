"""The function: one image event in, one prediction event out. `python -P -m functions --artifact DIR` runs it.

This package and its imports are all the code in the edge container image. The function answers every request with a
status chosen by what the sender should do next (`functions.http.problems`), loses no accepted request while starting or
stopping, and never imports TensorFlow or a cluster's client.

A request passes through `http/server`, `http/connection` (sockets) > `http/app` (HTTP contract) > `service` >
`fetch/` (data by reference) > `model/pipeline` of the task
(recipe or handler, then the session of `eaves.inference`).

    settings                     settings of a function
    metrics                      counters, timings, and the kernel's figures for the process
    start_timing                 times of the steps of a start
"""
