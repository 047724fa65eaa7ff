"""Signals end a command as Ctrl-C does, and processes end with those that started them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmgen.apps.cli.main import main
from mmgen.core.interruption import handle_signals, interrupt

CHILD = """
import os, time
from mmgen.core.interruption import end_with_parent
ready, written = os.pipe()
if not os.fork():
    end_with_parent()
    os.write(written, b"x")
    time.sleep(600)
os.read(ready, 1)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated"), ("SIGHUP", 129, "terminal closed")],
)
def test_a_signal_ends_any_command_in_one_line(
    number: str, code: int, word: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mmgen.apps.cli.list.run", lambda: signal.raise_signal(getattr(signal, number)))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["list"]) == code
    assert capfd.readouterr().err == f"mmgen: {word}\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handle_signals(interrupt):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children so")
def test_a_child_ends_with_its_parent_that_is_killed() -> None:
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, cwd=root)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    assert parent.communicate(timeout=20) == (b"", None)  # nobody holds the pipe any more
