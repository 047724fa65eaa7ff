import math
from pathlib import Path

import pytest
import torch

from mmgen.apps.cli.main import main
from mmgen.media.audio import read_audio, write_wav
from mmgen.media.image_file import read_image
from mmgen.media.images import save_png, to_uint8
from mmgen.media.spectrogram import mel_distance_db
from mmgen.media.video import read_clip, write_mp4
from mmgen.media.video_file import read_header
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.store.store import load_tokenizer
from tests.spoken_runs import RATE, codec_run
from tests.tiny_runs import tokenizer_run, video_tokenizer_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tokenizer_run(tmp_path / "tok")


def test_pairs_and_figures(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    files = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "other" / "a.png"]
    for number, file in enumerate(files):
        save_png(torch.linspace(-1, 1, 64).view(1, 8, 8).roll(number, -1), file)
    assert main(["reconstruct", str(run), *map(str, files), "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.png", "a.png", "b.png"]
    lines = capsys.readouterr().out.splitlines()
    tokenizer = load_tokenizer(run)
    for file, name, line in zip(files, ["a.png", "b.png", "a-2.png"], lines, strict=True):
        image = read_image(file, (1, 8, 8))
        decoded = tokenizer.decode(tokenizer.encode(image[None]))[0]
        error = (to_uint8(image).double() - to_uint8(decoded).double()).square().mean().item()
        assert line == f"{file}: psnr_db {10 * math.log10(255**2 / error):.2f}, 64 bits -> {tmp_path / 'out' / name}"
        times, pad = 14, 2
        left, right = 8 * times + pad, 2 * (8 * times + pad)
        pair = read_image(tmp_path / "out" / name, (1, left + pad, right + pad))
        assert torch.equal(to_uint8(pair[:, pad:left:times, pad:left:times]), to_uint8(image))
        assert torch.equal(to_uint8(pair[:, pad:left:times, left + pad : right : times]), to_uint8(decoded))


@pytest.fixture
def video_run(tmp_path: Path) -> Path:
    return video_tokenizer_run(tmp_path / "video_tok")


def drifting(frames: int) -> torch.Tensor:
    ramp = torch.linspace(-1, 1, 40).expand(1, 1, 36, 40)
    return torch.cat([ramp.roll(3 * step, -1) for step in range(frames)], dim=1)


@pytest.mark.parametrize("frames", [None, 7, 1])
def test_videos_stand_beside_their_reconstruction(
    frames: int | None, video_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    files = [tmp_path / "a.mp4", tmp_path / "other" / "a.mp4"]
    for file, rate in zip(files, (8, 12.5), strict=True):
        write_mp4(drifting(10), file, fps=rate)
    asked = [] if frames is None else ["--frames", str(frames)]
    assert main(["reconstruct", str(video_run), *map(str, files), *asked, "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    tokenizer, count = load_tokenizer(video_run), frames or 4
    for file, name, rate, line in zip(files, ("a.mp4", "a-2.mp4"), (8, 12.5), lines, strict=True):
        clip = read_clip(file, (1, count, 32, 32), rate)
        decoded = tokenizer.decode(tokenizer.encode(clip[None]))[0]
        gap = (to_uint8(clip).double() - to_uint8(decoded).double()).square().mean((0, 2, 3))
        psnr = (10 * torch.log10(255**2 / gap)).mean().item()
        out, bits = tmp_path / "out" / name, 16 * count
        assert line == f"{file}: psnr_db {psnr:.2f}, the mean of {count} frames, {bits} bits -> {out}"
        header = read_header(out)
        assert header.fps == pytest.approx(rate)
        assert header.seconds == pytest.approx(count / rate)
        pair = read_clip(out, (1, count, *header.size), rate)
        times, pad = 3, 2
        places = [slice(pad + start, pad + start + 32 * times) for start in (0, 32 * times + pad)]
        for place, wanted in zip(places, (clip, decoded), strict=True):
            shown = pair[:, :, places[0], place][:, :, 1::times, 1::times]
            assert (shown - wanted).abs().mean() < 0.03


def test_videos_are_read_at_the_rate_asked_for(video_run: Path, tmp_path: Path) -> None:
    write_mp4(drifting(30), tmp_path / "x.mp4", fps=30)
    arguments = ["reconstruct", str(video_run), str(tmp_path / "x.mp4"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--fps", "10", "--frames", "10"]) == 0
    assert read_header(tmp_path / "out" / "x.mp4").seconds == pytest.approx(1)


@pytest.fixture
def codec(tmp_path: Path) -> Path:
    pytest.importorskip("soundfile")
    return codec_run(tmp_path / "codec")


def test_sounds_of_any_rate_stand_above_their_reconstruction(
    codec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import soundfile

    (tmp_path / "other").mkdir()
    hum = 0.3 * torch.sin(torch.arange(1000) * 0.2)
    write_wav(hum, tmp_path / "a.wav", RATE)
    soundfile.write(tmp_path / "other" / "a.wav", torch.stack([hum, 2 * hum], 1).clamp(-0.5, 0.5).numpy() * 2, 2 * RATE)
    files = [str(tmp_path / "a.wav"), str(tmp_path / "other" / "a.wav")]
    assert main(["reconstruct", str(codec), *files, "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.png", "a-2.wav", "a.png", "a.wav"]
    told, tokenizer = capsys.readouterr(), load_tokenizer(codec)
    assert isinstance(tokenizer, AudioTokenizer)
    for file, name, line, seconds in zip(files, ("a", "a-2"), told.out.splitlines(), (0.625, 0.3125), strict=True):
        sound, made = read_audio(file, RATE), read_audio(tmp_path / "out" / f"{name}.wav", RATE)
        decoded = tokenizer.decode(tokenizer.encode(sound[None]), sound.shape[1])[0]
        torch.testing.assert_close(made, decoded, atol=1e-4, rtol=0)
        distance = mel_distance_db(sound, decoded, RATE)
        assert line.startswith(f"{file}: mel_distance_db {distance:.2f}, {seconds:.2f} s, ")
        assert line.endswith(f" bits -> {tmp_path / 'out' / name}.wav, {tmp_path / 'out' / name}.png")
    (notice,) = told.err.splitlines()
    assert f"resampled from {2 * RATE} to {RATE} Hz, 2 channels mixed to one" in notice


def test_a_clipped_sound_is_named_and_a_bad_one_stops_before_anything_is_written(
    codec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    write_wav(torch.sin(torch.arange(1000) * 0.2) * 1.5, tmp_path / "loud.wav", RATE)
    assert main(["reconstruct", str(codec), str(tmp_path / "loud.wav"), "--out", str(tmp_path / "first")]) == 0
    assert "loud.wav: clipped: " in capsys.readouterr().err
    (tmp_path / "bad.wav").write_text("no sound")
    files = [str(tmp_path / "loud.wav"), str(tmp_path / "bad.wav")]
    assert main(["reconstruct", str(codec), *files, "--out", str(tmp_path / "out")]) == 2
    assert "is not a sound" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["reconstruct", str(codec), str(tmp_path / "loud.wav"), "--fps", "3"]) == 2
    assert "--fps is for clips" in capsys.readouterr().err
