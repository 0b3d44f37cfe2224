"""The function: one image event in, one prediction event out. `python -P -m functions --artifact DIR` runs it.

This package and its imports are all the code in the edge container image. The function answers every request with a
status chosen by what the sender should do next (`problems`), loses no accepted request while starting or stopping, and
never imports TensorFlow or a cluster's client.

In the order in which a request passes through them:

    start, settings              the first steps of a process: its socket, and the times of the others; its settings
    server                       HTTP with waitress: serves until a signal, and stops without losing an accepted request
    function_app                 the routes that are answered before Flask: predictions and probes
    routes, problems             all other routes, with Flask; errors as responses
    inference_messages           the Open Inference Protocol's messages
    service, metrics             admission, checks and reply, whatever the protocol; counters and timings
    dataref                      fetches data by reference, from where `url_policy` allows, signed by `request_signer`
    model_loading                opens the model and replays its golden images; it is then ready, or failed
    pipeline                     the tasks: prepares the input, runs the session of `eaves.inference`, presents outputs
"""
