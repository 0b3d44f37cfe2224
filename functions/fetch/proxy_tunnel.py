"""A tunnel through an HTTP proxy to an address that was checked here.

The proxy is told the address and never the name: it would resolve the name itself, to an address that nobody checked,
and an allowed name could then lead into the proxy's own network. So a function resolves the names of datarefs itself,
with a proxy too, and http:// goes through a tunnel as https:// does.

Source: RFC 9110, section 9.3.6 (CONNECT).
"""

from __future__ import annotations

import http.client
import socket

from eaves.errors import UnreachableError
from eaves.http_client.proxies import Proxy
from functions.fetch.url_policy import IpAddress


def open_tunnel(sock: socket.socket, proxy: Proxy, address: IpAddress, port: int) -> None:
    """Have a proxy connect to an address; from then on the connection leads there.

    Args:
        sock: A connection to the proxy, with a time limit.
        proxy: Whose user name and password are sent.
        address: Where the tunnel leads.
        port: TCP port there.

    Raises:
        UnreachableError: When the proxy refuses.
        OSError: When the connection breaks or time runs out.
        http.client.HTTPException: When the proxy doesn't speak HTTP.
    """
    place = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    headers = {"Host": place, **proxy.headers}
    lines = [f"CONNECT {place} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    # Nothing else arrives before the client speaks, so no byte of the server's is lost in the answer's buffer.
    with http.client.HTTPResponse(sock, method="CONNECT") as answer:
        answer.begin()
        if answer.status != 200:
            raise UnreachableError(
                f"the proxy {proxy.url} refuses a connection to {place}: it answered {answer.status}",
                hint="let the proxy pass it, or name the host in NO_PROXY",
            )
