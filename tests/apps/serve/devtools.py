"""A real browser that a test steers: Chromium's own protocol over two pipes, so that no library is needed."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.page.browser import BROWSER

SIZE = (1360, 900)


class Tab:
    """One page.

    Args:
        commands: what is written here, the browser does.
        answers: what it says.
        process: the browser.
    """

    def __init__(self, commands: int, answers: int, process: subprocess.Popen[bytes]) -> None:
        self.commands, self.answers, self.process = commands, answers, process
        self.number, self.rest, self.session = 0, b"", ""
        self.requested: list[str] = []
        """Addresses that the page has asked for, but for those that carry their own content."""
        self.errors: list[str] = []
        """What the page's scripts have thrown, or called an error."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Do something, and wait until it is done."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            piece = os.read(self.answers, 1 << 20)
            assert piece, "the browser is gone"
            self.rest += piece
        line, _, self.rest = self.rest.partition(b"\0")
        message = dict(json.loads(line))
        if message.get("method") == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            self.requested += [] if url.startswith(("data:", "blob:")) else [url]
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(message["params"]["exceptionDetails"])[:500])
        if message.get("method") == "Runtime.consoleAPICalled" and message["params"]["type"] == "error":
            self.errors.append(json.dumps(message["params"]["args"])[:500])
        return message

    def run(self, script: str) -> Any:
        """The value of an expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 30.0) -> Any:
        """The value of an expression, as soon as it is true."""
        until = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < until, f"never true: {script}\n{self.run('document.body.innerText')[:2000]}"
            time.sleep(0.02)
        return value

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the first element that the selector finds."""
        find = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"!!{find}")
        self.run(f"{find}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.run(
            f"(() => {{ const b = {find}.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field, in the place of what is there."""
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """A key that types nothing."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


@contextmanager
def opened(url: str, folder: Path, *options: str) -> Iterator[Tab]:
    """A browser that shows a page.

    Args:
        url: of the page.
        folder: for the browser's own files.
        options: of its command line.
    """
    assert BROWSER is not None
    to_read, commands = os.pipe()
    answers, to_write = os.pipe()
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--disable-dev-shm-usage", "--disable-component-update", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={SIZE[0]},{SIZE[1]}", "--remote-debugging-pipe", *options,
    ]  # fmt: skip
    # The browser reads from descriptor 3 and writes to 4.
    through = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
    process = subprocess.Popen(
        ["bash", "-c", through, *command], pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_read), os.close(to_write)
    try:
        tab = Tab(commands, answers, process)
        tab.call("Page.navigate", url=url)
        yield tab
    finally:
        process.terminate()
        process.wait(20)
        os.close(commands), os.close(answers)
