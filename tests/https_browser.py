"""A browser without a window for pages over TLS: it keeps cookies and fills in the login form."""

import http.client
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

BOUNDARY = "----of-the-tests"


class HttpsBrowser:
    """A client that trusts one certificate and keeps its cookies.

    Args:
        port: TCP port of the server on loopback.
        certificate: The server's certificate as PEM.

    Attributes:
        cookies: Its cookies by name.
        answer_headers: Headers of the last answer.
    """

    def __init__(self, port: int, certificate: Path) -> None:
        self.port = port
        self._context = ssl.create_default_context(cafile=str(certificate))
        self._context.check_hostname = False
        self.cookies: dict[str, str] = {}
        self.answer_headers: Mapping[str, str] = {}

    def load(
        self, method: str, path: str, body: bytes | None = None, content_type: str = "", **headers: str
    ) -> tuple[int, bytes]:
        """Send a request; return the status and the body of its answer."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self._context, timeout=60)
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers |= {"Content-Type": content_type} if content_type else {}
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            self.answer_headers = dict(answer.headers)
            for cookie in answer.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str]:
        """Send a request, perhaps with a form and headers; return the status and the text of its answer."""
        body, kind = (urlencode(form).encode(), "application/x-www-form-urlencoded") if form else (None, "")
        status, answer = self.load(method, path, body, kind, **headers)
        return status, answer.decode(errors="replace")

    def submit(self, page: str, action: str, **fields: str) -> tuple[int, str]:
        """Fill in the form of a page, with its hidden fields, and send it."""
        return self.ask("POST", action, {**self._find_hidden(page), **fields})

    def upload(self, page: str, field: str, name: str, data: bytes, **fields: str) -> tuple[int, str]:
        """Send a file by the form of a page to the same address."""
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in {**self._find_hidden(page), **fields}.items()
        ]
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
        body = b"".join([*parts, head, data, f"\r\n--{BOUNDARY}--\r\n".encode()])
        status, answer = self.load("POST", page, body, f"multipart/form-data; boundary={BOUNDARY}")
        return status, answer.decode(errors="replace")

    def log_in(self, password: str) -> int:
        """Log in; return the status of the answer."""
        return self.submit("/login", "/login", password=password)[0]

    def _find_hidden(self, page: str) -> dict[str, str]:
        _, text = self.ask("GET", page)
        return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', text))
