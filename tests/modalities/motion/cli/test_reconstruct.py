from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen.apps.cli.main import main
from mmgen.modalities.motion.features import features_to_joints, joints_to_features, position_errors
from mmgen.modalities.motion.files import read_motion, write_bvh, write_npy
from mmgen.modalities.motion.skeleton import KIT
from mmgen.store.store import load_tokenizer
from tests.modalities.motion.gait import walk
from tests.motion_runs import motion_tokenizer_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return motion_tokenizer_run(tmp_path_factory.mktemp("motion") / "tok")


def test_motions_stand_beside_their_reconstruction(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    files = [tmp_path / "a.npy", tmp_path / "b.bvh", tmp_path / "other" / "a.npy"]
    write_npy(walk(frames=14), files[0])
    write_bvh(walk(frames=17, fps=30), files[1], fps=30)
    np.save(files[2], joints_to_features(walk(frames=10, turn=1)).numpy())
    assert main(["reconstruct", str(run), *map(str, files), "--out", str(tmp_path / "out")]) == 0
    out = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert out == ["a-2.gif", "a-2.npy", "a.gif", "a.npy", "b.gif", "b.npy"]
    lines, tokenizer = capsys.readouterr().out.splitlines(), load_tokenizer(run)
    for file, name, frames, line in zip(files, ("a", "b", "a-2"), (13, 10, 8), lines, strict=True):
        x = joints_to_features(read_motion(file)).mT[None]
        assert x.shape[2] == frames
        decoded = tokenizer.decode(tokenizer.encode(x))[..., :frames]
        joints = read_motion(tmp_path / "out" / f"{name}.npy")
        torch.testing.assert_close(joints, features_to_joints(decoded[0].mT), atol=1e-4, rtol=1e-4)
        errors = position_errors(decoded, x)
        told = f"{file}: mpjpe_mm {errors['mpjpe_mm'].item():.1f}, root_mm {errors['root_mm'].item():.1f}, "
        assert line.startswith(f"{told}{frames / 20:.2f} s, ")
        bits = -(-frames // 4) * 2 * 3
        assert f"{bits:,g} bits -> {tmp_path / 'out' / name}.npy, {tmp_path / 'out' / name}.gif" in line
        with Image.open(tmp_path / "out" / f"{name}.gif") as moving:
            assert moving.width == 2 * moving.height
            assert moving.n_frames > 1


def test_one_bad_motion_stops_before_anything_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_npy(walk(frames=14), tmp_path / "good.npy")
    write_npy(walk(KIT, frames=14), tmp_path / "kit.npy")
    write_npy(walk(frames=1), tmp_path / "pose.npy")
    for file, message in (
        ("kit.npy", "kit.npy has 21 joints, but the model moves the 22 of HumanML3D's skeleton: choose"),
        ("pose.npy", "pose.npy has one frame at 20 a second, and features tell how it goes on: give two or more"),
        ("none.npy", "does not exist"),
    ):
        files = [str(tmp_path / "good.npy"), str(tmp_path / file)]
        assert main(["reconstruct", str(run), *files, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_the_other_skeleton(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = motion_tokenizer_run(tmp_path / "kit", dims=KIT.features)
    write_npy(walk(KIT, frames=9), tmp_path / "x.npy")
    assert main(["reconstruct", str(run), str(tmp_path / "x.npy"), "--out", str(tmp_path / "out")]) == 0
    assert read_motion(tmp_path / "out" / "x.npy").shape == (8, 21, 3)
