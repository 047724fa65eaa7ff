"""The config.yaml of a run of others: whatever YAML it holds, the run is loaded, or a line says what is wrong."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgen.apps.serve.runs import find_runs
from mmgen.core.errors import UserError
from mmgen.core.yaml_text import parse_yaml
from mmgen.store.store import load_tokenizer
from tests.fuzz.mutation import fuzz, refused
from tests.tiny_runs import tokenizer_run

VALUES = [
    "2024-05-01", "2024-05-01T10:00:00Z", "9" * 5000, "0x" + "f" * 5000, "-" + "1" * 400, "1e999", ".inf", ".nan",
    "010", "1:30", "~", "", "yes", "!!binary aGk=", "!!set {a, b}", "!!python/name:os.system", "!!int x", "!!str [1]",
    "*a", "&a [*a]", "&a x", "[" * 500, "{" * 70, "{1: 2}", "{~: 1}", "{[a]: 1}", "{? {a: b} : c}", "\"\\x1b[31m\"",
    "'", "|", ">-", "- x", "a: b: c", "${oc.env:HOME}", "${model}", "${", "%YAML 1.1", "---", "...", "\t", "\u2028",
    "\ufeff", "@", "`",
]  # fmt: skip
KEYS = ["a", "model", "init_args", "1", "~", "yes", "<<", "[a]", "&a b", "*a", "class_path", "'", "? a", ""]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer_run(tmp_path_factory.mktemp("yaml") / "runs" / "tok")


@pytest.fixture(scope="module")
def whole(run: Path) -> str:
    return (run / "config.yaml").read_text()


def check(text: str, run: Path) -> None:
    (run / "config.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    refused(lambda: load_tokenizer(run), UserError)
    assert set(find_runs(run.parent).skipped) == {"tok"}


@fuzz(60)
@given(draw=st.data())
def test_other_values_and_keys(draw: st.DataObject, run: Path, whole: str) -> None:
    lines = whole.split("\n")
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(lines) - 1))
        key, colon, value = lines[place].partition(":")
        key = draw.draw(st.sampled_from([key, key, key, *KEYS]))
        lines[place] = f"{key}{colon} {draw.draw(st.sampled_from([value, *VALUES]))}"
    check("\n".join(lines), run)


@fuzz(60)
@given(parts=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES), st.integers(0, 4)), max_size=12))
def test_made_up_configs(parts: list[tuple[str, str, int]], run: Path) -> None:
    check("".join(f"{'  ' * depth}{key}: {value}\n" for key, value, depth in parts), run)


@fuzz(60)
@given(names=st.lists(st.sampled_from("abc"), min_size=2, max_size=40), width=st.integers(2, 12))
def test_lists_of_lists_by_name(names: list[str], width: int) -> None:
    """However they refer to each other, they are small, or refused."""
    lines = ["x: &a [1, 2]"]
    for number, name in enumerate(names):
        lines.append(f"x{number}: &{name} [{', '.join([f'*{names[number - 1] if number else chr(97)}'] * width)}]")
    refused(lambda: parse_yaml("\n".join(lines), "it"), UserError)


def test_the_run_as_it_was_is_loaded(run: Path, whole: str, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "config.yaml").write_text(whole)
    assert load_tokenizer(copy).spec.size == 4
