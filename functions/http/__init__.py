"""The function's HTTP server, with waitress and Flask.

server               serves until a signal, and stops without losing an accepted request
listening_socket     is opened first, so that requests wait while the process starts
listener             embeds waitress with bounded connections, threads and memory; the local platform uses it too
connection           one connection within limits;  request_parser: parses requests
thread_pool          threads that start when they are needed
app                  the HTTP contract;  body: the request's body in one piece
problems             errors as responses, with a status and a problem document
inference_routes     the Open Inference Protocol's endpoints;  inference_messages: its messages
"""
