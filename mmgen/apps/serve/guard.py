"""What the server answers: its own page alone, and of requests only those that the page makes.

The library below it brings uploads, files, proxies and descriptions of itself, which nothing here needs.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from mmgen.core.json_file import parse_json

_API = "/gradio_api"
_READ = {
    "/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt",
    *(f"{_API}/{name}" for name in ("app_id", "info", "login_check", "queue/data", "startup-events", "theme.css")),
}  # fmt: skip
_READ_BELOW = ("/assets/", "/static/", "/svelte/", f"{_API}/heartbeat/")
_CALL = f"{_API}/queue/join"
_SENT = {_CALL, f"{_API}/cancel", f"{_API}/reset"}
_LARGEST = 2**16  # bytes of a request, of which the longest text is a few hundred

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Guard:
    """An ASGI middleware.

    Args:
        app: the server.
        origins: addresses of the page, without a path.
        inputs: number of an event -> how many values it takes.
    """

    def __init__(self, app: Any, origins: tuple[str, ...], inputs: Mapping[int, int]) -> None:
        self.app, self.origins, self.inputs = app, origins, inputs

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await _refuse(send, 403, "the page opens no other connections")
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"].rstrip("/") or "/"
        if method in ("GET", "HEAD") and (path in _READ or path.startswith(_READ_BELOW)):
            if path.startswith(_API) and not self._of_the_page(headers):
                await _refuse(send, 403, "only its own page may ask this")
                return
            await self.app(scope, receive, send)
            return
        if method != "POST" or path not in _SENT:
            await _refuse(send, 404, "there is nothing here: the page takes no files and describes no interface")
            return
        if not self._of_the_page(headers):
            await _refuse(send, 403, "only its own page may ask this")
            return
        body = await _body(receive)
        if body is None:
            await _refuse(send, 413, f"a request has at most {_LARGEST:,} bytes")
            return
        if path == _CALL and (mistake := self._mistake(body)) is not None:
            await _refuse(send, 422, mistake)
            return
        await self.app(scope, _replayed(body, receive), send)

    def _of_the_page(self, headers: Mapping[str, str]) -> bool:
        """Browsers say where a request comes from; other programs on this machine say nothing."""
        origin = headers.get("origin")
        if origin is not None:
            return origin in self.origins
        return headers.get("sec-fetch-site", "none") in ("same-origin", "none")

    def _mistake(self, body: bytes) -> str | None:
        try:
            call = parse_json(body.decode())
            number, data = call["fn_index"], call["data"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return "this is no request of the page"
        if not isinstance(number, int) or number not in self.inputs or not isinstance(data, list):
            return "this is no request of the page"
        if len(data) != self.inputs[number]:
            return f"{self.inputs[number]} values belong to this, got {len(data)}"
        return None


async def _body(receive: Receive) -> bytes | None:
    """Of a request; None where it is too long, or its sender is gone."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > _LARGEST:
            return None
        if not message.get("more_body", False):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then what else comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _refuse(send: Send, status: int, reason: str) -> None:
    text = json.dumps({"error": reason}).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
