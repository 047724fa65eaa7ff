"""The app in a real browser: a person picks a run, samples it, and sees and hears it while it is made."""

import ast
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import spoken_runs, tiny_runs
from tests.apps.serve.devtools import Tab, opened
from tests.page.browser import MARKS

GRADIO = importlib.util.find_spec("gradio") is not None
pytestmark = [*MARKS, pytest.mark.skipif(not GRADIO, reason="no gradio here: pip install 'mmgen[serve]'")]

# Writes down every address that the server binds, connects to or looks up; and draws every step, slowly, since tiny
# models are done before a second picture would be due. Started in the background, it would ignore interruptions.
PROGRAM = """
import signal, sys, time
log = open(sys.argv[1], "w", buffering=1)
def note(event, args):
    if event in ("socket.bind", "socket.connect"):
        print(repr((event, args[1])), file=log)
    elif event == "socket.getaddrinfo":
        print(repr((event, args[:2])), file=log)
sys.addaudithook(note)
signal.signal(signal.SIGINT, signal.default_int_handler)
from mmgen.apps.cli.main import main
from mmgen.sampling.live import Pace
Pace.due = lambda pace: time.sleep(0.03) is None
sys.exit(main(["serve", *sys.argv[2:]]))
"""


@dataclass
class Server:
    url: str
    port: int
    log: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    runs = folder / "runs"
    tiny_runs.generator_run(runs / "images", tiny_runs.tokenizer_run(runs / "tok"))
    tiny_runs.video_run(runs / "clips", tiny_runs.video_tokenizer_run(runs / "vtok"))
    spoken_runs.speech_run(runs / "speech", spoken_runs.codec_run(runs / "codec"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", PROGRAM, str(folder / "sockets"), str(runs), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"mmgen serve: http://127.0.0.1:{port} "), line + process.stdout.read()
        yield Server(f"http://127.0.0.1:{port}/", port, folder / "sockets", process)
    finally:
        process.kill()
        process.wait(20)


@pytest.fixture(scope="module")
def tab(server: Server, folder: Path) -> Iterator[Tab]:
    with opened(server.url, folder) as page:
        page.wait("!!document.querySelector('#about p')", 60)
        yield page


def choose(tab: Tab, field: str, option: str) -> None:
    """An option of a list that opens where it is clicked."""
    tab.click(f"#{field} input")
    options = f"[...document.querySelectorAll('#{field} [role=option]')]"
    number = tab.wait(f"1 + {options}.findIndex((each) => each.innerText.trim().endsWith({json.dumps(option)}))")
    tab.click(f"#{field} [role=option]:nth-child({number})")


def pick(tab: Tab, run: str, mode: str) -> None:
    choose(tab, "run", run)
    tab.wait(f"document.querySelector('#about').innerText.startsWith('{run}')")
    labels = "[...document.querySelectorAll('#mode label')]"
    tab.run(f"{labels}.forEach((each) => {{ each.id = each.innerText.trim() === '{mode}' ? 'wanted' : ''; }})")
    tab.click("#wanted")
    # Keeps every partial result, since a small model is quicker than a test that looks now and then.
    tab.run("""
        window.watcher?.disconnect();
        window.watcher = new MutationObserver(() => {
          const shown = document.querySelector("#results .shown");
          if (!shown) return;
          const sources = (tag) => [...shown.querySelectorAll(tag)].map((each) => each.src);
          seen.push({ last: shown.classList.contains("done"), images: sources("img"), sounds: sources("audio") });
        });
        window.watcher.observe(
          document.querySelector("#results"), { childList: true, attributes: true, subtree: true }
        );
    """)


def sample(tab: Tab) -> tuple[list[dict[str, list[str]]], dict[str, list[str]]]:
    """Click, and wait for the end: the partial results, and the final one."""
    tab.run("document.querySelector('#results .shown')?.remove()")
    tab.run("window.seen = []")
    tab.click("#sample")
    tab.wait("seen.length && seen.at(-1).last", 60)
    seen = tab.run("seen")
    *_, last = seen
    return [each for each in seen if not each["last"]], last


def test_the_newest_run_is_there_at_once_and_the_rest_has_reasons(tab: Tab) -> None:
    assert tab.run("document.querySelector('#run input').value") == "speech"
    tab.run("[...document.querySelectorAll('button')].find((each) => each.innerText.includes('left out')).click()")
    told = tab.wait("document.querySelector('#left-out').innerText")
    assert told.count("is a tokenizer") == 3


def test_images_appear_token_by_token(tab: Tab) -> None:
    pick(tab, "images", "Autoregressive")
    partial, last = sample(tab)
    assert len({each["images"][0] for each in partial if each["images"]} - set(last["images"])) >= 5
    assert tab.run("document.querySelector('#results img').naturalWidth") > 8
    assert last["images"][0].startswith("data:image/png")
    assert "16 images in" in tab.run("document.querySelector('.caption').innerText")


def test_the_same_seed_gives_the_same_images_and_another_seed_others(tab: Tab) -> None:
    pick(tab, "images", "Masked")
    _, first = sample(tab)
    _, again = sample(tab)
    tab.type("#seed input", "7")
    _, other = sample(tab)
    assert first == again != other


def test_sampling_can_be_stopped(tab: Tab) -> None:
    pick(tab, "images", "Autoregressive")
    tab.run("document.querySelector('#results .shown')?.remove()")
    tab.click("#sample")
    tab.wait("!!document.querySelector('#results .making')")
    tab.click("#stop")
    time.sleep(1.5)
    assert tab.run("!!document.querySelector('#results .making')")
    assert sample(tab)[1]["images"]  # and it goes on working


def test_clips_appear_frame_by_frame_and_then_play(tab: Tab) -> None:
    pick(tab, "clips", "Frame-wise")
    partial, last = sample(tab)
    assert any(each["images"] for each in partial)
    assert last["images"][0].startswith("data:image/webp")


def test_speech_is_heard_while_it_is_made(tab: Tab) -> None:
    pick(tab, "speech", "Autoregressive")
    tab.type("#text textarea", "a bad cab")
    partial, last = sample(tab)
    assert any(each["sounds"] for each in partial)
    assert last["images"][0].startswith("data:image/png")  # its spectrogram
    assert tab.run("document.querySelector('#results audio').controls")
    heard = float(tab.wait("document.querySelector('[data-heard]')?.dataset.heard"))
    bytes_of = 3 * (len(last["sounds"][0]) - len("data:audio/wav;base64,")) / 4 - 44
    assert heard >= bytes_of / 2 / spoken_runs.RATE - 0.01  # all of it, and perhaps the silence at its end


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("#text textarea", "xyz", "unknown here"),
        ("#text textarea", "", "at least one character"),
        ("#seed input", "-4", "seed must lie between 0 and 2147483647, got -4"),
    ],
)
def test_a_mistake_is_one_line_on_the_page(field: str, text: str, words: str, tab: Tab) -> None:
    pick(tab, "speech", "Autoregressive")
    tab.type("#seed input", "0")
    tab.type("#text textarea", "abc")
    tab.type(field, text) if text else (
        tab.click(field),
        tab.run("document.activeElement.select()"),
        tab.press("Delete", 46),
    )
    tab.run("document.querySelector('#results .mistake')?.remove()")
    tab.click("#sample")
    told = tab.wait("document.querySelector('#results .mistake')?.innerText")
    assert words in told
    assert "\n" not in told
    assert "Traceback" not in tab.run("document.body.innerText")


def test_the_page_asks_nothing_of_other_hosts_and_throws_no_errors(tab: Tab, server: Server) -> None:
    assert tab.requested
    assert {url for url in tab.requested if not url.startswith(server.url)} == set()
    assert tab.errors == []
    fonts = tab.run("[...document.fonts].filter((each) => each.status === 'loaded').map((each) => each.family)")
    assert fonts == []


def test_the_server_listens_and_connects_on_this_machine_alone(tab: Tab, server: Server) -> None:
    events = [ast.literal_eval(line) for line in server.log.read_text().splitlines()]
    hosts = {address[0] for _, address in events if isinstance(address, tuple)}
    assert ("socket.bind", ("127.0.0.1", server.port)) in events
    assert hosts <= {"127.0.0.1", "localhost", b"127.0.0.1"}


def test_a_request_by_another_name_is_refused(server: Server) -> None:
    request = urllib.request.Request(server.url, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=10)
    assert error.value.code == 400


def test_an_interruption_ends_it(tab: Tab, server: Server) -> None:
    server.process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert server.process.wait(20) in (0, 130)
    assert time.monotonic() - started < 20
