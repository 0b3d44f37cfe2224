"""A small HTTP(S) server of the standard library: what publisher, relay and receiver take CloudEvents with.

Metrics and health of agents, and their queues' Unix sockets, are served with it as well (`eaves.admin.server`).

server        listens, and owns the connections
connections   the bounded table of open connections, and which of them makes room for the next one
connection    one connection: TLS handshake, requests one after the other, answers
timed_reader  a socket's bytes with a limit on how long they may take
head_reader   the request line and the headers, within their bound
request       what a route sees of a request
response      what a route answers
framing       where a request's body ends, and which requests are ambiguous about it
body          the body, piece by piece, unpacked, within its limits
memory        one bound on the bytes of all bodies
content       a body's CloudEvents
store_route   the route of publisher and relay: events > a durable queue > 202
tls/          certificates that may be renewed while the server runs

A route decides before the body is read: `Request.read_body` reads it. Nothing here stores, sends or knows a site.
"""

from eaves.ingress.memory import MemoryBudget
from eaves.ingress.request import Caller, Request
from eaves.ingress.response import Response, answer_error, answer_json, answer_problem
from eaves.ingress.server import IngressLimits, IngressServer
from eaves.ingress.store_route import StoreRoute
from eaves.ingress.tls.server_tls import ServerTls

__all__ = [
    "Caller",
    "IngressLimits",
    "IngressServer",
    "MemoryBudget",
    "Request",
    "Response",
    "ServerTls",
    "StoreRoute",
    "answer_error",
    "answer_json",
    "answer_problem",
]
