"""A small HTTP(S) server on the standard library, by which publisher, relay, receiver and console listen.

It also serves the local platform, and metrics, health and queues of agents (`eaves.admin.server`).

server       listens, and owns the open connections, which are limited in number; certificates that may be renewed
connection   one connection: TLS handshake, requests in sequence within time limits, responses
request      a request as a route sees it, with its body within limits, and the route's response
memory       one limit on the memory of all bodies
store_route  the CloudEvents in a request, and the route of publisher and relay, which stores them in a durable queue
             and answers 202; imported by itself, because it needs the modules of events and delivery
wsgi         the route that passes requests to a WSGI application, such as the console's

A route decides before the body is read; `Request.read_body` reads it. This package stores and sends no events, and
knows no sites.
"""

from eaves.ingress.connection import IngressLimits
from eaves.ingress.memory import MemoryBudget
from eaves.ingress.request import Caller, Request, Response, answer_error, answer_json, answer_problem
from eaves.ingress.server import IngressServer, ServerTls

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
