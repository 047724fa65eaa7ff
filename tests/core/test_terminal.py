"""Names and texts of others on the terminal: nothing in them is obeyed, and nothing ends the command."""

import ast
import logging
from pathlib import Path

import pytest

from mmgen.apps.cli.main import main
from mmgen.core.console import SafeConsole
from mmgen.core.errors import UserError
from mmgen.core.terminal import print_safely, printable
from mmgen.data.sources.scan import notice, report_skipped

HARMFUL = {
    "\x1b[2J\x1b[31mred": r"\x1b[2J\x1b[31mred", "a\x07b\rc": r"a\x07b\x0dc", "\x9b31m": r"\x9b31m",
    "a\u202egpj.exe": r"a\u202egpj.exe",
    "caf\udce9.png": r"caf\xe9.png", "a\u2028b": r"a\u2028b", "\x00": r"\x00", "\ud800": r"\ud800",
}  # fmt: skip
PLAIN = "plain", "naïve café", "日本語　全角", "👩\u200d🚀", "a\tb", "a\u00a0b", "عربي", "back\\slash"


@pytest.mark.parametrize("text", HARMFUL)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert printable(text) == HARMFUL[text]
    print_safely(text)
    SafeConsole(width=200).print(f"[red]{text}[/]", highlight=False)
    assert capfd.readouterr().out == f"{HARMFUL[text]}\n[red]{HARMFUL[text]}[/]\n"
    assert str(UserError(f"{text} is missing")) == f"{HARMFUL[text]} is missing"


@pytest.mark.parametrize("text", PLAIN)
def test_all_other_text_stays(text: str) -> None:
    assert printable(text) == text


def test_notices_are_one_printable_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        notice("a\nmmgen: error: all is lost\x1b[8m")
        report_skipped(Path("x\x1b[31m"), {"a\nb\x1b]0;title\x07": "it is bad\x1b[0m"})
    assert len(caplog.messages) == 2
    assert all(line.isprintable() for line in caplog.messages)


def test_a_command_that_is_named_harmfully_is_refused_in_a_printable_line(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["\x1b[2Jfit"],
        ["sample", "no\x1b[2Jwhere"],
        ["fit", "--config", "\udce9\x1b[1A"],
        ["list", "--\x1b[3"],
    ):
        assert main(words) == 2
        error = capfd.readouterr().err
        assert error.startswith("mmgen: error: ")
        assert error.removesuffix("\n").isprintable()


def test_nothing_else_prints() -> None:
    """But the pictures of a game."""
    printing = [
        path
        for path in Path("mmgen").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    ]
    assert set(printing) == {Path("mmgen/modalities/video/commands/play.py")}
