"""The function over HTTP, by waitress and Flask.

server               serving until a signal, and a stop that loses nothing that was accepted
listener             waitress, embedded once: bounded connections, threads and memory; the local platform's as well
connection           one connection within bounds;  request_parser: what is taken for a request
thread_pool          threads, made when they are needed
app                  which request is answered how;  body: the request's body in one piece
problems             errors as answers, with a status and a problem document
inference_routes     the Open Inference Protocol's endpoints;  inference_messages: its messages
"""
