"""Serves the model with func-python, the runtime of Knative's `func`, for the comparison with a function of Eaves."""

import json

from func_python.http import serve
from model import Model


class Function:
    def __init__(self):
        self.model = Model()

    async def handle(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        answer = json.dumps(self.model.predict(body)).encode()
        headers = [[b"content-type", b"application/json"]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def new():
    return Function()


if __name__ == "__main__":
    serve(new)
