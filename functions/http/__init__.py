"""The function's HTTP server, with waitress and Flask.

server               embeds waitress; serves until a signal, and stops without losing an accepted request
listening_socket     is opened first, so that requests wait while the process starts
app                  the HTTP contract and the routes;  function_app: what is answered before Flask
problems             errors as responses, with a status and a problem document
inference_messages   the Open Inference Protocol's messages
"""
