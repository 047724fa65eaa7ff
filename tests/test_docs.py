"""The Python that the documents show runs, the site is built whole from them and the code, and its commands exist."""

import functools
import html
import inspect
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import mmgen.paradigms
from mmgen.apps.cli.main import COMMANDS, TRAINING, command_module, main
from mmgen.core.characters import Text
from mmgen.core.masks import CATALOGUE
from mmgen.media.audio import write_wav
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.motion.sources.humanml3d import HumanML3D
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from mmgen.modalities.video.sources.atari import Atari
from mmgen.modalities.video.sources.video_folder import VideoFolder
from mmgen.model.backbone import Transformer
from mmgen.paradigms import Paradigm
from mmgen.tokenizers.quantizers import BSQ
from tests import spoken_runs, tiny_runs
from tests.data_modules import data_section

ROOT = Path(__file__).parents[1]
PARADIGMS = [
    kind
    for kind in vars(mmgen.paradigms).values()
    if inspect.isclass(kind) and issubclass(kind, Paradigm) and not inspect.isabstract(kind)
]


def python_of(document: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{document} shows {len(blocks)} blocks of Python"
    return str(blocks[0])


def run(document: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(python_of(document), document, "exec"), names)
    return names


def test_the_training_loop_trains_every_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("docs/training_loop.md")
    assert names["history"][-1] < names["history"][0] / 3
    assert names["correct"].keys() == {"ar", "masked", "block"}
    assert min(names["correct"].values()) > 0.8


def test_the_training_loop_is_short_and_needs_no_lightning() -> None:
    code = python_of("docs/training_loop.md")
    assert len(code.splitlines()) <= 60
    assert "lightning" not in code


def test_the_example_of_the_readme_samples_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_runs.tokenizer_run(Path("runs/digits_bsq"))
    tiny_runs.generator_run(Path("runs/digits_mixture"), tokenizer, classes=10)
    names = run("README.md")
    assert names["state"].committed.all()
    assert names["images"].shape == (10, *names["model"].tokenizer.sample_shape)


def test_the_example_of_the_video_walk_steers_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_runs.video_tokenizer_run(Path("runs/atari_bsq"))
    told = {"frames": 4, "size": 32, "channels": 1, "clips": 2, "held_out": 2}
    data = data_section("Atari", tokenizer=str(tokenizer), **told)
    paradigm = {"class_path": "mmgen.paradigms.FrameAutoregressive", "init_args": {"window": 2}}
    names = Atari(**told).action_names
    tiny_runs.generator_run(Path("runs/atari_boxing"), tokenizer, 0, paradigm, names, 15.0, "spatial", data)
    names = run("docs/video.md")
    assert Path("up.mp4").stat().st_size > 100
    assert names["clips"].shape == names["sampled"].clips.shape == (2, 1, 10, 32, 32)
    same = (names["clips"] == names["sampled"].clips).flatten(2).all(2)[:, 0]
    assert same.tolist() == [True, False]  # the clip that goes up either way, and the one that turns


def test_the_example_of_the_speech_walk_streams_what_it_says_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paradigm = {"class_path": "mmgen.paradigms.CodebookAutoregressive"}
    codec = spoken_runs.codec_run(Path("runs/espeak_codec"))
    text = Text(" ,efinorstuvwxz", 24)
    voices = ["en-us+f2", "en-us+m3"]
    spoken_runs.speech_run(Path("runs/espeak_delay"), codec, paradigm, text, ends=True, voices=voices)
    write_wav(0.1 * torch.ones(1, 4 * spoken_runs.STRIDE), Path("prompt.wav"), spoken_runs.RATE)
    names = run("docs/speech.md")
    assert Path("said.wav").stat().st_size > 44
    (whole,) = names["spoken"].sounds
    assert torch.allclose(names["streamed"].flatten(), whole, atol=1e-4)
    assert (names["prompted"].lengths >= 4).all()


# The site.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` builds it: a warning ends it."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def section(page: Path, anchor: str) -> str:
    """What a page says under one heading, without tags."""
    text = page.read_text()
    found = re.search(rf'<h(\d) id="{re.escape(anchor)}">(.*?)(?=<h[12] |</article>)', text, re.DOTALL)
    assert found, f"{page.name} has no {anchor}"
    return html.unescape(re.sub(r"<[^>]+>", "", found[2]))


def test_every_mask_is_on_the_sheet(site: Path) -> None:
    for name, mask in CATALOGUE.items():
        entry = section(site / "masks.html", name)
        assert mask.sentence in entry
        assert mask.source in entry
        assert (site / "masks" / f"{name}.png").stat().st_size > 1000
        assert f"masks/{name}.png" in (site / "masks.html").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_holds_every_option_of_a_command(
    site: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = section(site / "commands.html", command)
    if command in TRAINING:  # their parser takes seconds to make, and the page is made from it
        wanted = {"--run", "--ckpt_path", "--ema.decay", "--trainer.max_steps"} if command == "fit" else {"--ckpt_path"}
    else:
        assert main([command, "--help"]) == 0
        wanted = set(re.findall(r"^  (--\w+)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
    assert {option for option in wanted if not re.search(rf"{option}\b", entry)} == set()


def test_every_class_that_a_recipe_may_name_is_told_with_its_arguments(site: Path) -> None:
    for kind in (*PARADIGMS, BSQ, Transformer):
        entry = section(site / "parts.html", kind.__name__)
        arguments = set(inspect.signature(kind).parameters)
        assert {name for name in arguments if not re.search(rf"\b{name}\b", entry)} == set()


@pytest.mark.parametrize("paradigm", PARADIGMS, ids=lambda kind: kind.__name__)
def test_every_paradigm_has_a_guide(paradigm: type[Paradigm]) -> None:
    """With its options and the picture of a mask, both from the code; how to train it, how to sample, and what its
    likelihood is."""
    marker = f"<!-- arguments {paradigm.__name__} -->"
    (guide,) = [path.read_text() for path in (ROOT / "docs/guides").glob("*.md") if marker in path.read_text()]
    assert re.search(r"^<!-- mask \w+ -->$", guide, re.MULTILINE)
    headings = re.findall(r"^## (.*)$", guide, re.MULTILINE)
    assert {"Options", "Train", "Sample", "Likelihood", "What to try next"} <= set(headings)
    assert "```math" in guide


def test_every_recipe_has_a_page(site: Path) -> None:
    table = (site / "recipes.html").read_text()
    for config in [*ROOT.glob("tokenizers/*/config.yaml"), *ROOT.glob("experiments/*/config.yaml")]:
        page = f"recipes/{config.parent.relative_to(ROOT)}.html"
        assert page in table
        assert "class_path" in (site / page).read_text()


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    class Loads(HTMLParser):
        found: ClassVar[list[str]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag != "a":
                self.found.extend(value or "" for name, value in attrs if name in ("src", "href", "srcset", "data"))

    for page in site.rglob("*.html"):
        Loads().feed(page.read_text())
    assert Loads.found
    assert [link for link in Loads.found if re.match(r"(\w+:)?//", link)] == []
    styles = "".join(page.read_text() for page in site.rglob("*.css"))
    assert styles
    assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*|@import[^;]*//[^;]*", styles) == []


def test_nothing_is_left_unmade_on_the_site(site: Path) -> None:
    pages = {str(page.relative_to(site)): page.read_text() for page in site.rglob("*.html")}
    assert [name for name, text in pages.items() if re.search(r"<!-- \w+( [\w.]+)? -->|```", text)] == []
    for guide in (ROOT / "docs/guides").glob("*.md"):
        formulas = guide.read_text().count("```math")
        assert pages[f"guides/{guide.stem}.html"].count("<math ") == formulas


# The walks.

WALKS = {
    "tutorial": ["fit", "evaluate", "reconstruct", "tokenize", "sample", "compress", "decompress", "export"],
    "video": ["demo", "fit", "evaluate", "reconstruct", "tokenize", "sample", "play", "report"],
    "speech": ["demo", "fit", "evaluate", "reconstruct", "tokenize", "sample", "edit"],
    "motion": ["fit", "evaluate", "reconstruct", "sample"],
}
"""Page -> the commands that it cannot do without."""

Command = list[str]


@pytest.fixture
def walk(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """The commands of a page, in a folder that holds its recipes and samples, those of the repository, and no more."""
    text = (ROOT / f"docs/{page}.md").read_text()
    for recipe in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / recipe.split()[1]).write_text(recipe)
    ImageFolder.make_fake(tmp_path / "photos")
    VideoFolder.make_fake(tmp_path / "clips")
    SpeechFolder.make_fake(tmp_path / "recordings")
    HumanML3D.make_fake(tmp_path / "motions")
    for folder in ("tokenizers", "experiments"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for line in "".join(blocks).replace("\\\n", " ").splitlines()]
    return [words for words in lines if words]


@pytest.mark.parametrize("page", WALKS)
def test_a_walk_goes_the_whole_way(page: str, walk: list[Command]) -> None:
    assert {words[0] for words in walk} == {"mmgen"}
    assert set(WALKS[page]) <= {words[1] for words in walk}


@pytest.mark.parametrize("page", WALKS)
def test_the_commands_of_a_walk_are_understood(
    walk: list[Command], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = []
    for _, command, *words in walk:
        if command in TRAINING:
            assert main([command, *words, "--print_config"]) == 0, capsys.readouterr().err
            continue
        module = command_module(command)

        @functools.wraps(module.run)
        def note(*args: Any, _command: str = command, **given: Any) -> None:
            taken.append((_command, args, given))

        with monkeypatch.context() as patch:
            patch.setattr(module, "run", note)
            assert main([command, *words]) == 0, capsys.readouterr().err
    assert len(taken) == sum(words[1] not in TRAINING for words in walk)
    assert [first for first in read_before_written(walk) if not Path(first).exists()] == []


def read_before_written(commands: list[Command]) -> Iterator[str]:
    """The first parts of the paths that a command names and no command before it has made."""
    made: set[str] = set()
    for _, command, *words in commands:
        named = dict(zip(words, words[1:]))
        written = named.get("--out") or named.get("--run")
        if command == "fit" and written is None:
            recipe = Path(named["--config"])
            written = f"runs/{recipe.parent.name if recipe.name == 'config.yaml' else recipe.stem}"
        if command == "demo" and written is None:
            written = f"runs/demo-{words[0]}"
        paths = [word for word in words if re.fullmatch(r"\w+[/.][\w/.-]*[a-z]\w*", word)]
        known = {path for path in paths if any(f"{path}/".startswith(f"{each}/") for each in made)}
        yield from (path.split("/")[0] for path in paths if path != written and path not in known)
        made |= {written} if written else set()
