"""A tunnel through an HTTP proxy to an IP address that the function has checked.

The proxy gets the address and never the host name: it would resolve the name itself, to an unchecked address, and an
allowed name could then lead into the proxy's own network. So there is a tunnel for http:// as well as for https://.

Source: RFC 9110, section 9.3.6 (CONNECT).
"""

from __future__ import annotations

import http.client
import socket

from eaves.errors import UnreachableError
from eaves.http_client.proxies import Proxy
from functions.fetch.url_policy import IpAddress


def open_tunnel(sock: socket.socket, proxy: Proxy, address: IpAddress, port: int) -> None:
    """Make a proxy connect to an address; the socket, a connection to the proxy, is then connected to that address.

    Raises:
        UnreachableError: When the proxy refuses.
        OSError: When the connection breaks or time is up.
        http.client.HTTPException: When the proxy doesn't speak HTTP.
    """
    place = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{key}: {text}" for key, text in proxy.headers.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    # Nothing arrives before the client sends, so the response's buffer takes none of the server's bytes.
    with http.client.HTTPResponse(sock, method="CONNECT") as answer:
        answer.begin()
        if answer.status != 200:
            raise UnreachableError(
                f"the proxy {proxy.url} refuses a connection to {place}: it answered {answer.status}",
                hint="allow this host in the proxy, or add it to NO_PROXY",
            )
