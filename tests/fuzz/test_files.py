"""Damaged and made-up files of every kind that is read: used, skipped or refused in a line, never a traceback."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.data.sources import CachedTokens
from mmgen.media.audio import read_audio, wav_bytes
from mmgen.media.audio import read_header as read_sound_header
from mmgen.media.torch_file import Unsound
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.motion.bvh import bvh_text
from mmgen.modalities.motion.files import read_motion, write_npy
from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.modalities.motion.sources.motion_folder import read_captions, read_features
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from mmgen.modalities.video.sources.video_folder import VideoFolder
from mmgen.store.checkpoint_file import check_seal, find_checkpoint, read_checkpoint, write_checkpoint
from mmgen.store.store import load_generator, load_tokenizer, save_export
from tests.fuzz.mutation import PLAIN, fuzz, mutated, mutated_tree, refused
from tests.tiny_runs import generator_run, tokenizer_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def told_in_a_line(read: Callable[[], object]) -> bool:
    """Whether it is refused; anything but a line for the user comes out of here."""
    return refused(read, UserError, Unsound)


def read_all(source: Any) -> None:
    """Every sample of a source is finite."""
    for split in ("train", "val"):
        samples = source.samples(split)
        index = torch.arange(len(samples))
        assert samples.augmented(index, index * 0, 0)["x"].isfinite().all()


def original(file: Path) -> bytes:
    """A file as it was when this was first called with it."""
    copy = file.with_name(f"{file.name}.whole")
    if not copy.exists():
        copy.write_bytes(file.read_bytes())
    return copy.read_bytes()


def image_bytes(form: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((24, 16), 80).convert("RGB").save(file, format=form)
    return file.getvalue()


IMAGES = {form: image_bytes(form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")}


@fuzz(60)
@given(data=st.sampled_from(sorted(IMAGES)).flatmap(lambda form: st.tuples(st.just(form), mutated(IMAGES[form]))))
def test_images(data: tuple[str, bytes], place: Path) -> None:
    """One among five good ones: the folder is read, and each sample is an image."""
    form, bad = data
    folder = place / "images"
    folder.mkdir(exist_ok=True)
    for number in range(5):
        (folder / f"good{number}.png").write_bytes(IMAGES["PNG"])
    for old in folder.glob("bad.*"):
        old.unlink()
    (folder / f"bad.{form.lower()}").write_bytes(bad)
    source = ImageFolder(folder, image_size=8, held_out=3)
    read_all(source)
    for split in ("train", "val"):
        samples = source.samples(split)
        told_in_a_line(lambda samples=samples: samples.take(torch.arange(len(samples))))


@pytest.fixture(scope="module")
def clip(place: Path) -> bytes:
    arguments = VideoFolder.make_fake(place / "one video", samples=2)
    return next(Path(arguments["root"]).rglob("*.mp4")).read_bytes()


@fuzz(25)
@given(draw=st.data())
def test_videos(draw: st.DataObject, place: Path, clip: bytes) -> None:
    folder = place / "videos"
    if not folder.exists():
        folder.mkdir()
        for number in range(3):
            (folder / f"good{number}.mp4").write_bytes(clip)
    (folder / "bad.mp4").write_bytes(draw.draw(mutated(clip, head=len(clip))))

    told_in_a_line(lambda: read_all(VideoFolder(folder, size=8, frames=2, fps=5.0, held_out=2)))


SOUND = wav_bytes(torch.linspace(-0.5, 0.5, 1600)[None], 16000)


@fuzz(60)
@given(data=mutated(SOUND, head=60))
def test_sounds(data: bytes, place: Path) -> None:
    folder = place / "sounds"
    if not folder.exists():
        folder.mkdir()
        for number in range(3):
            (folder / f"good{number}.wav").write_bytes(SOUND)
            (folder / f"good{number}.txt").write_text("hum")
    (folder / "bad.wav").write_bytes(data)
    (folder / "bad.txt").write_bytes(data[40:60])
    told_in_a_line(lambda: read_sound_header(folder / "bad.wav"))
    told_in_a_line(lambda: read_audio(folder / "bad.wav", 16000))

    told_in_a_line(lambda: read_all(SpeechFolder(folder, seconds=0.2, held_out=2)))


JOINTS = HUMANML3D.offsets.cumsum(0).expand(4, -1, -1).contiguous()


@fuzz(80)
@given(draw=st.data())
def test_motions(draw: st.DataObject, place: Path) -> None:
    write_npy(JOINTS, place / "whole.npy")
    folder = place / "new_joint_vecs"
    folder.mkdir(exist_ok=True)
    for name, whole, head in (
        ("a.npy", (place / "whole.npy").read_bytes(), 128),
        ("a.bvh", bvh_text(JOINTS, 20.0).encode(), 2000),
        ("a.txt", b"a person walks#a/DET person/NOUN#0.0#2.5\n", 50),
    ):
        (folder / name).write_bytes(draw.draw(mutated(whole, head), label=name))
    told_in_a_line(lambda: read_motion(folder / "a.npy"))
    told_in_a_line(lambda: read_motion(folder / "a.bvh"))
    told_in_a_line(lambda: read_features(folder / "a.npy", HUMANML3D))
    told_in_a_line(lambda: read_captions(folder / "a.txt"))


SPECS = {
    "categorical": TokenSpec("categorical", 16, (1, 4, 4)),
    "residual": TokenSpec("residual", 8, (5, 1, 1), levels=2, rate=4.0, modality="speech", stride=2, first=2),
    "continuous": TokenSpec("continuous", 3, (1, 2, 2)),
}


def read_tokens(folder: Path) -> None:
    source = CachedTokens(folder)
    for split in ("train", "val"):
        samples = source.samples(split)
        batch = samples.take(torch.arange(len(samples)))
        assert len(batch["values"]) == len(samples)


@fuzz(60)
@given(draw=st.data(), kind=st.sampled_from(sorted(SPECS)))
def test_tokens_whose_meta_is_changed(draw: st.DataObject, kind: str, place: Path) -> None:
    folder = place / f"tokens {kind}"
    if not folder.exists():
        CachedTokens.make_fake(folder, spec=SPECS[kind])
    text = original(folder / "meta.json")
    if draw.draw(st.booleans()):
        changed = json.dumps(draw.draw(mutated_tree(json.loads(text)))).encode()
    else:
        changed = draw.draw(mutated(text, len(text)))
    (folder / "meta.json").write_bytes(changed)
    told_in_a_line(lambda: read_tokens(folder))


@fuzz(80)
@given(draw=st.data(), kind=st.sampled_from(sorted(SPECS)))
def test_tokens_whose_shards_are_changed_with_a_checksum_that_fits(draw: st.DataObject, kind: str, place: Path) -> None:
    folder = place / f"shards {kind}"
    if not folder.exists():
        CachedTokens.make_fake(folder, spec=SPECS[kind])
    data = draw.draw(mutated(original(folder / "train-00000.safetensors"), head=300))
    (folder / "train-00000.safetensors").write_bytes(data)
    meta = json.loads(original(folder / "meta.json"))
    next(each for each in meta["shards"] if each["split"] == "train")["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "meta.json").write_text(json.dumps(meta))
    told_in_a_line(lambda: read_tokens(folder))


@fuzz(60)
@given(draw=st.data(), sealed=st.booleans())
def test_checkpoints(draw: st.DataObject, sealed: bool, place: Path) -> None:
    """A sealed one never comes back otherwise than it was written."""
    file, content = (
        place / "last.ckpt",
        {"global_step": 3, "state_dict": {"a": torch.arange(50), "b": torch.ones(2, 3)}},
    )
    if sealed:
        write_checkpoint(content, file)
    else:
        torch.save(content, file)
    sound = file.read_bytes()
    data = draw.draw(mutated(sound, head=len(sound)))
    file.write_bytes(data)
    (place / "last-before.ckpt").unlink(missing_ok=True)

    def read() -> None:
        found, _ = find_checkpoint(file)
        check_seal(found)
        checkpoint = read_checkpoint(found)
        if sealed and b"mmgen sha256" in data[-77:]:
            assert checkpoint["global_step"] == 3
            assert checkpoint["state_dict"]["a"].equal(torch.arange(50))

    told_in_a_line(read)


@pytest.fixture(scope="module")
def runs(place: Path) -> tuple[Path, Path]:
    tokenizer = tokenizer_run(place / "tok")
    return tokenizer, save_export(generator_run(place / "gen", tokenizer), place / "export").path


@fuzz(40)
@given(draw=st.data())
def test_weights_of_exports(draw: st.DataObject, place: Path, runs: tuple[Path, Path]) -> None:
    file = runs[1] / "model.safetensors"
    weights = original(file)
    file.write_bytes(draw.draw(mutated(weights, head=int.from_bytes(weights[:8], "little") + 8)))
    told_in_a_line(lambda: load_generator(runs[1]))
    file.write_bytes(weights)


@fuzz(40)
@given(draw=st.data(), which=st.integers(0, 1))
def test_configs_of_runs(draw: st.DataObject, which: int, place: Path, runs: tuple[Path, Path]) -> None:
    run, load = runs[which], (load_tokenizer, load_generator)[which]
    file = run / "config.yaml"
    text = original(file)
    if draw.draw(st.booleans()):
        file.write_text(yaml.safe_dump(draw.draw(mutated_tree(yaml.safe_load(text)))))
    else:
        file.write_bytes(draw.draw(mutated(text, len(text))))
    told_in_a_line(lambda: load(run))
    file.write_bytes(text)


@fuzz(40)
@given(
    record=st.recursive(
        PLAIN, lambda inner: st.dictionaries(st.sampled_from(["spec", "conditions", "kind", "grid"]), inner)
    )
)
def test_records_of_checkpoints(record: Any, place: Path, runs: tuple[Path, Path]) -> None:
    """What the data told the generator, in a checkpoint of somebody else."""
    run = place / "told"
    if not run.exists():
        generator_run(run, runs[0])
    file = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    for changed in (record, dict(checkpoint["mmgen"]) | (record if isinstance(record, dict) else {"spec": record})):
        torch.save(checkpoint | {"mmgen": changed}, file)
        told_in_a_line(lambda: load_generator(run))
    torch.save(checkpoint, file)
