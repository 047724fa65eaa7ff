"""What is no file is refused by every reader of media, and never waited for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mmgen.core.arrays import open_array, read_arrays
from mmgen.core.errors import UserError
from mmgen.core.files import require_regular_file
from mmgen.media.audio import read_audio
from mmgen.media.image_file import open_image
from mmgen.media.video import read_clip
from mmgen.modalities.motion.files import read_motion

READERS: dict[str, Callable[[Path], object]] = {
    "x.png": lambda path: open_image(path, 3),
    "x.wav": lambda path: read_audio(path, 16000),
    "x.mp4": lambda path: read_clip(str(path), (3, 2, 8, 8), 5.0),
    "x.npy": open_array,
    "x.npz": lambda path: read_arrays(path, ["x"]),
    "motion.npy": read_motion,
    "x.bvh": read_motion,
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    writer = os.open(tmp_path / name, os.O_RDWR)  # so that a reader that opens it fails, and does not hang
    try:
        with pytest.raises(UserError, match="is no file, but a pipe, a socket or a device"):
            READERS[name](tmp_path / name)
    finally:
        os.close(writer)


def test_files_folders_and_what_does_not_exist_are_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "none"):
        require_regular_file(path)
    with pytest.raises(UserError, match="/dev/null is no file"):
        require_regular_file("/dev/null")
