"""A page of each modality from tiny runs and what the ordinary commands write into their folders."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from torch import Tensor

from mmgen.apps.cli.main import main
from mmgen.core.modality import find_modality
from mmgen.data import build
from mmgen.data.sources import Batch, Samples, Source, SplitName
from mmgen.modalities.motion import sample_files as motion_sampling
from mmgen.modalities.speech import sample_files as speech_sampling
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from tests.figures import append
from tests.motion_runs import Walks, motion_run, motion_tokenizer_run
from tests.page.browser import MARKS, look
from tests.page.elements import Elements, check_page, text
from tests.spoken_runs import RATE, codec_run, speech_run
from tests.store.test_members import joint_run
from tests.tiny_runs import generator_run, tokenizer_run, video_run, video_tokenizer_run


class Ramps(Source):
    """Grey 8x8 images of three classes."""

    class_names, sample_shape = ["zero", "one", "two"], (1, 8, 8)

    def samples(self, split: SplitName) -> Samples:
        return _RampSamples()

    def describe(self) -> dict[str, Any]:
        return {}


class _RampSamples(Samples):
    def __len__(self) -> int:
        return 9

    def take(self, index: Tensor) -> Batch:
        ramp = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
        return {"x": torch.cat([ramp.roll(int(n), -1) for n in index]), "label": index % 3, "sample": index}


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def images(folder: Path, patch: pytest.MonkeyPatch) -> list[Path]:
    patch.setattr(build, "open_source", lambda name: Ramps())
    tokenizer = tokenizer_run(folder / "tok")
    generator = generator_run(folder / "gen", tokenizer)
    run("reconstruct", tokenizer, "--data", "ramps", "--num", 6)
    for mode in ("masked", "block"):
        run("sample", generator, "--mode", mode, "--steps", 2, "--num", 6, "--film")
    source = tokenizer / "reconstructions" / "000" / "1.real.png"
    run("sample", generator, "--mode", "ar", "--class", "one", "--num", 2, "--inpaint", source, "--keep_region", "0:2")
    for mode, value in (("ar", 3.0), ("masked", 2.0)):
        figure(generator, "fid", value, mode, "digits_cnn", protocol={"extractor_accuracy": 0.98})
    figure(tokenizer, "psnr_db", 21.5)
    return [generator, tokenizer]


def clips(folder: Path, patch: pytest.MonkeyPatch) -> list[Path]:
    tokenizer = video_tokenizer_run(folder / "tok")
    generator = video_run(folder / "gen", tokenizer)
    run("reconstruct", tokenizer, "--data", generator, "--num", 2)
    context = ("--mode", "frame", "--num", 2, "--context", "held_out", "--context_frames", 2)
    run("sample", generator, *context)
    run("sample", generator, *context, "--frames", 6)
    run("sample", generator, "--mode", "block", "--num", 2)
    for metric, values in (("psnr_db", [12.0, 11.0]), ("next_frame_gain_db", [1.0, 0.5])):
        figure(generator, metric, 1.5, "frame", protocol={"per_frame": values})
    drift = {"per_window": [1.0, 2.0], "per_window_real": [1.0, 1.0], "window": 2}
    figure(generator, "drift", 1.0, "frame", "frames_pixels", protocol=drift)
    return [generator, tokenizer]


def sounds(folder: Path, patch: pytest.MonkeyPatch) -> list[Path]:
    pytest.importorskip("soundfile")
    root = SpeechFolder.make_fake(folder / "hums", 12)["root"]
    source = SpeechFolder(root, seconds=1.2, sample_rate=RATE, held_out=4)
    patch.setattr(build, "build_source", lambda config: source)
    patch.setattr(speech_sampling, "trained_source", lambda *_: source)
    tokenizer = codec_run(folder / "tok")
    generator = speech_run(folder / "gen", tokenizer, text=source.text, classes=0)
    run("reconstruct", tokenizer, "--data", "held_out", "--num", 2)
    run("sample", generator, "--mode", "ar", "--text", "held_out", "--num", 2)
    figure(generator, "wer", 0.25, "ar", "whisper_tiny_en")
    return [generator, tokenizer]


def motions(folder: Path, patch: pytest.MonkeyPatch) -> list[Path]:
    source = Walks(frames=12)
    patch.setattr(build, "open_source", lambda name: source)
    patch.setattr(motion_sampling, "trained_source", lambda *_: source)
    tokenizer = motion_tokenizer_run(folder / "tok")
    generator = motion_run(folder / "gen", tokenizer, class_names=("slow", "fast"))
    run("reconstruct", tokenizer, "--data", "walks", "--num", 2)
    run("sample", generator, "--mode", "ar", "--num", 2)
    run("sample", generator, "--mode", "masked", "--inpaint", "held_out", "--num", 3)
    figure(tokenizer, "mpjpe_mm", 31.0)
    return [generator, tokenizer]


def figure(
    run: Path, metric: str, value: float, mode: str | None = None, extractor: str | None = None, **how: Any
) -> None:
    """A row of results.json."""
    where = {"command": f"mmgen evaluate {run.name}", "data": "tiny val", "samples": 4, "seconds": 1.0}
    append(run, metric, value, seed=0, steps=2, mode=mode, extractor=extractor, **where, **how)


Made = Callable[[Path, pytest.MonkeyPatch], list[Path]]
SECTIONS: dict[Made, list[str]] = {
    images: ["tokenizer", "samples", "decoding", "completion", "metrics", "masks"],
    clips: ["tokenizer", "prediction", "rollout", "classes", "metrics", "masks"],
    sounds: ["listen", "words", "metrics", "masks"],
    motions: ["actions", "tokenizers", "between", "metrics", "masks"],
}


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Made], Path]:
    """A folder with the runs of a modality and their page.html, made once."""

    @cache
    def folder_of(make: Made) -> Path:
        folder = tmp_path_factory.mktemp(make.__name__)
        with pytest.MonkeyPatch.context() as patch:
            runs = make(folder, patch)
            patch.setattr(torch.nn.Module, "__call__", None)  # no network runs
            run("report", *runs, "--out", folder / "page.html")
        return folder

    return folder_of


@pytest.mark.parametrize("make", SECTIONS, ids=lambda make: make.__name__)
def test_a_page_shows_all_that_lies_in_the_folders_and_needs_nothing_else(
    make: Made, page_of: Callable[[Made], Path]
) -> None:
    page = (page_of(make) / "page.html").read_text()
    check_page(page)
    assert [each["id"] for each in Elements(page).named("section")] == SECTIONS[make]
    content = text(page)
    for record in page_of(make).glob("*/*/*/record.json"):
        assert json.loads(record.read_text())["command"] in content
    for results in page_of(make).glob("*/results.json"):
        assert all(row["metric"] in content and row["command"] in content for row in json.loads(results.read_text()))


def test_runs_stand_side_by_side_and_modalities_in_chapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = tokenizer_run(tmp_path / "tok")
    paradigm = {"class_path": "mmgen.paradigms.Autoregressive", "init_args": {"mask": "causal"}}
    several = [generator_run(tmp_path / name, tokenizer, paradigm=paradigm) for name in ("small", "large")]
    for each, value in zip(several, (3.0, 2.0)):
        figure(each, "held_out_loss", value, "ar")
        logs = each / "logs" / "csv" / "version_0"
        logs.mkdir(parents=True)
        (logs / "metrics.csv").write_text(f"step,train/ar,val/ar\n9,{value + 1},\n19,{value},{value}\n")
    video = video_tokenizer_run(tmp_path / "clips")
    titles = ("--title", "Pictures", "--title", "Films", "--lead", "Still.", "--lead", "Moving.")
    run("report", *several, video, *titles, "--note", "A note.", "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    content = text(page)
    chapters = Elements(page).named("article")
    assert [each["id"] for each in chapters if each.get("class") == "chapter"] == ["image", "video"]
    assert all(words in content for words in ("Pictures", "Films", "Still.", "Moving.", "A note."))
    (row,) = re.findall(r"<code>held_out_loss</code></th>(.*?)</tr>", page)
    assert re.findall(r"<td(.*?)>([^<]*)</td>", row)[:2] == [("", "3"), (' class="best"', "2")]
    assert "small and large: loss a token" in content  # in one chart
    check_page(page)
    for words, error in (
        (several + several[:1], "the same run is named twice"),
        ([tmp_path], "holds no config.yaml"),
        ([*several, "--title", "a", "--title", "b"], "--title is given 2 times, and the page has 1 chapters"),
    ):
        assert main(["report", *map(str, words)]) == 2
        assert error in capsys.readouterr().err


def test_a_joint_run_has_a_chapter_for_each_member_with_its_own_curves(tmp_path: Path) -> None:
    joint = joint_run(tmp_path / "joint")
    run("sample", joint / "image", "--mode", "masked", "--steps", 2, "--num", 4)
    figure(joint / "image", "fid", 3.0, "masked", "digits_cnn")
    (joint / "logs" / "csv" / "version_0").mkdir(parents=True)
    rows = "step,train/image/masked,val/image/masked,train/speech/ar,train/tokens_per_second\n9,3.0,2.5,5.5,800\n"
    (joint / "logs" / "csv" / "version_0" / "metrics.csv").write_text(rows)
    (joint / "samples").mkdir()
    for member in ("image", "speech"):
        PIL.Image.new("L", (8, 8)).save(joint / "samples" / f"{member}-cfg2-0000010.png")
    run("report", joint, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    sections = [each["id"] for each in Elements(page).named("section")]
    assert sections == [
        "image-samples", "image-metrics", "image-training", "image-masks", "image-previews", "speech-training",
        "speech-masks", "speech-previews",
    ]  # fmt: skip
    for words in (
        "Two modalities",
        "image: loss a token",
        "speech: loss a token",
        "at 800 tokens a second",
        "image: cfg2",
    ):
        assert words in text(page)
    assert "masked ends at 2.5" in page and "ar ends at 5.5" in page and "image: speech" not in text(page)
    check_page(page)


def test_a_modality_without_a_page_of_its_own_has_a_table_of_files(
    page_of: Callable[[Made], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(find_modality("image")), "page_parts", lambda self: None)
    run("report", page_of(images) / "gen", page_of(images) / "tok", "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert [each["id"] for each in Elements(page).named("section")] == ["samples", "metrics", "masks"]
    assert "film.safetensors" in page and "grid.png" in page
    check_page(page)


class TestInBrowser:
    pytestmark = MARKS

    @pytest.mark.parametrize("make", [images, motions], ids=lambda make: make.__name__)
    def test_films_and_skeletons_move_and_nothing_is_broken(
        self, make: Made, page_of: Callable[[Made], Path], tmp_path: Path
    ) -> None:
        for width in (1300, 400):
            report = look((page_of(make) / "page.html").read_text(), tmp_path, f"--window-size={width},6000")
            assert not report["errors"] and not report["broken"] and not report["hidden"]
            assert report["wide"] <= 0 and report["player"]
        if make is images:
            first, last = report["films"]
            assert len(first) == 2 and all(frame == 0 for frame, _ in first)
            assert all(frame == frames - 1 for frame, frames in last)
        else:
            first, later = report["people"]
            assert len(first) > 4 and any(one != other for one, other in zip(first, later))
