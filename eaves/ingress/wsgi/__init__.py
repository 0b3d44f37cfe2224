"""Serves a WSGI application, such as a Flask app, with the ingress server.

gateway      a request > the application > a response
environ      a request > the WSGI environment
compression  gzip of texts, for clients that accept it

Source: PEP 3333.
"""

from eaves.ingress.wsgi.environ import ADMIT, TAKE_OVER
from eaves.ingress.wsgi.gateway import WsgiGateway

__all__ = ["ADMIT", "TAKE_OVER", "WsgiGateway"]
