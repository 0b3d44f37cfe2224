"""A small HTTP(S) server built on the standard library, by which publisher, relay and receiver accept CloudEvents.

It also serves metrics and health of agents, and the Unix sockets of their queues (`eaves.admin.server`).

server        listens, and owns the connections
connections   the bounded table of open connections, and which of them makes room for the next one
connection    one connection: TLS handshake, requests in sequence, responses
timed_reader  reads a socket with time limits
head_reader   reads the request line and the headers, with a size limit
request       a request as a route sees it
response      a route's response
framing       where a request's body ends, and refusal of ambiguous requests
body          reads and unpacks the body in pieces, within its limits
memory        one limit on the memory of all bodies
content       parses the CloudEvents in a body
store_route   the route of publisher and relay, which stores events in a durable queue and answers 202; imported by
              itself, because it needs the modules of events and delivery
tls/          certificates that may be renewed while the server runs
wsgi/         the route that passes requests to a WSGI application, such as the console's

A route decides before the body is read; `Request.read_body` reads it. This package stores and sends no events, and
knows no sites.
"""

from eaves.ingress.memory import MemoryBudget
from eaves.ingress.request import Caller, Request
from eaves.ingress.response import Response, answer_error, answer_json, answer_problem
from eaves.ingress.server import IngressLimits, IngressServer
from eaves.ingress.tls.server_tls import ServerTls

__all__ = [
    "Caller",
    "IngressLimits",
    "IngressServer",
    "MemoryBudget",
    "Request",
    "Response",
    "ServerTls",
    "answer_error",
    "answer_json",
    "answer_problem",
]
