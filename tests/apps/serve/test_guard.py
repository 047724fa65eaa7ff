"""What the server answers, asked without a browser: its own page's requests, and a line for all others."""

import asyncio
import http.client
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmgen.apps.serve.app import HOST, launch
from mmgen.apps.serve.guard import Guard
from tests import tiny_runs

PAGE = "http://127.0.0.1:7860"
JOIN = "/gradio_api/queue/join"


async def reached(scope: Any, receive: Any, send: Any) -> None:
    """A server that gives back what it was sent."""
    body = b""
    while scope["method"] == "POST" and (message := await receive()).get("body"):
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(method: str, path: str, parts: tuple[bytes, ...] = (b"",), **headers: str) -> tuple[int, bytes]:
    """Status and content of an answer."""
    waiting = [{"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    asyncio.run(Guard(reached, (PAGE,), {0: 2})(scope, receive, send))
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


def call(number: Any, data: Any) -> bytes:
    return json.dumps({"fn_index": number, "data": data, "session_hash": "x"}).encode()


def test_requests_of_the_page_pass() -> None:
    for path in ("/", "/config", "/assets/a/b.js", "/gradio_api/heartbeat/abc", "/gradio_api/queue/data"):
        assert ask("GET", path, origin=PAGE)[0] == 200
    body = call(0, [1, "é"])
    assert ask("POST", JOIN, (body[:9], body[9:]), origin=PAGE) == (200, body)
    assert ask("POST", JOIN, (body,)) == (200, body)  # no browser
    assert ask("POST", "/gradio_api/cancel", (b"{}",), sec_fetch_site="same-origin") == (200, b"{}")


@pytest.mark.parametrize(
    "path",
    [
        "/openapi.json", "/docs", "/redoc", "/gradio_api/openapi.json", "/gradio_api/upload", "/upload",
        "/gradio_api/upload_progress", "/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://a.b", "/monitoring",
        "/gradio_api/vibe-edit", "/gradio_api/run/sample", "/gradio_api/call/sample", "/gradio_api/runs",
        "/gradio_api/../upload", "/assets", "//gradio_api/upload", "/GRADIO_API/UPLOAD",
    ],
)  # fmt: skip
def test_nothing_else_is_there(path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        status, answer = ask(method, path, origin=PAGE)
        assert status == 404
        assert answer.count(b"\n") == 1


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:8000"},
     {"origin": "https://127.0.0.1:7860"}, {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}],
)  # fmt: skip
def test_other_pages_may_ask_nothing(headers: dict[str, str]) -> None:
    for method, path in (("POST", JOIN), ("POST", "/gradio_api/cancel"), ("GET", "/gradio_api/queue/data")):
        assert ask(method, path, (call(0, [1, 2]),), **headers)[0] == 403


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", call(0, {}), call("0", [1, 2]), call(1, [1, 2]), call(None, []),
     call(0, [1]), call(0, [1, 2, 3]), b"[" * 5000],
)  # fmt: skip
def test_what_is_no_request_of_the_page_is_refused_in_a_line(body: bytes) -> None:
    status, answer = ask("POST", JOIN, (body,))
    assert status == 422
    assert answer.count(b"\n") == 1


def test_long_requests_are_refused_before_they_are_in_memory() -> None:
    assert ask("POST", JOIN, (bytes(2**16), b"x"))[0] == 413
    assert ask("POST", "/gradio_api/cancel", (bytes(2**16),))[0] == 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running app, whose temporary files lie apart."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("served")
    runs = folder / "runs"
    tiny_runs.generator_run(runs / "gen", tiny_runs.tokenizer_run(runs / "tok"))
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    before = set(Path(tempfile.gettempdir()).iterdir())
    app = launch(runs, port, block=False)
    yield port
    app.close()
    assert not [path for path in set(Path(tempfile.gettempdir()).iterdir()) - before if path.name == "gradio"]


def request(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def sample(port: int, data: list[Any], number: int) -> str:
    """The last message of an event of the page."""
    body = json.dumps({"fn_index": number, "data": data, "session_hash": "s", "trigger_id": None}).encode()
    status, answer = request(port, "POST", JOIN, body, **{"Content-Type": "application/json"})
    assert status == 200, answer
    _, answer = request(port, "GET", "/gradio_api/queue/data?session_hash=s")
    messages = [json.loads(line[5:]) for line in answer.decode().splitlines() if line.startswith("data:")]
    return json.dumps([each["output"] for each in messages if each["msg"] == "process_completed"])


def test_the_server_itself(served: int, capfd: pytest.CaptureFixture[str]) -> None:
    own = {"Origin": f"http://{HOST}:{served}"}
    assert request(served, "GET", "/")[0] == 200
    for path in ("/openapi.json", "/docs", "/redoc", "/gradio_api/openapi.json"):
        assert request(served, "GET", path)[0] == 404
    upload = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nhello\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    for origin in ({}, own, {"Origin": "http://evil.example"}):
        assert request(served, "POST", "/gradio_api/upload", upload, **kind, **origin)[0] == 404
    assert request(served, "POST", JOIN, call(0, []), Origin="http://evil.example")[0] == 403

    config = json.loads(request(served, "GET", "/config")[1])
    (number,) = [each["id"] for each in config["dependencies"] if len(each["inputs"]) == 10]
    look = next(each["id"] for each in config["dependencies"] if not each["inputs"] and len(each["outputs"]) == 2)
    sample(served, [], look)
    good = ["gen", "ar", "each in turn", "", 1, 0, 0, 1, 1, 0]
    assert "data:image/png" in sample(served, good, number)
    wrong = {1: ["no", 7, [], None], 2: ["no", 3.5, {}], 4: [0, 17, "x", 1.5, None, True, 1e400, 10**30],
             5: [-1, "7", [1]], 6: [-1, 1e9, "a"], 7: ["x", -1, None], 8: [9, []],
             0: ["../gen", ["gen"], 5, None]}  # fmt: skip
    for place, values in wrong.items():
        for value in values:
            answer = sample(served, [*good[:place], value, *good[place + 1 :]], number)
            assert 'class=\\\\\\"mistake\\\\\\"' in json.dumps(answer), (place, value, answer)
            assert "by no mistake of yours" not in answer, (place, value)
    assert "Traceback" not in capfd.readouterr().err
