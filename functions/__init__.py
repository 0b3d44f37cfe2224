"""The function: one image event in, one prediction event out. `python -P -m functions --artifact DIR`.

This package and what it imports is all the code in the edge container image. It answers every request with a status
chosen by what the sender should do next (`functions.http.problems`), keeps its promises while starting and stopping,
and imports neither TensorFlow nor a cluster's client, ever.

Flow of one request: `http/server`, `http/connection` (sockets) > `http/app` (HTTP contract) > `service` > `admission`
(bounded work), `reply_cache` (events that come twice), `fetch/` (data that is only referred to) > `model/pipeline` of
the task (recipe or handler, then the session of `eaves.inference`) > `replies`.

    settings                     what can be set
    metrics                      what is counted and timed;  process_usage: the process as the kernel sees it
    cpu_limit, start_timing      how many CPUs there are; where a start's time went
"""
