"""The function: one image event in, one prediction event out. `python -P -m functions --artifact DIR`.

This package and what it imports is all the code in the edge container image. It answers every request with a status
chosen by what the sender should do next (`functions.problems`), keeps its promises while starting and stopping, and
imports neither TensorFlow nor a cluster's client, ever.

Flow of one request: `server`, `connection` (sockets) > `app` (HTTP contract) > `service` > `admission` (bounded work) >
the task's `pipeline` (recipe or `handler`, then `session`, the only user of onnxruntime) > `replies`.
"""
