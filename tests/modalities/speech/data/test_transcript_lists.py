"""Lists of transcripts as people write them: columns, names of sounds, and lines of which nothing certain follows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmgen.core.errors import UserError
from mmgen.modalities.speech.sources.transcripts import find_utterances


def sounds(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.linspace(-0.5, 0.5, 800), 8000)


def ljspeech(root: Path, lines: Sequence[str], ends: str = "\n") -> dict[str, str | None]:
    """What is said in wavs/a.wav to wavs/d.wav."""
    sounds(root, *(f"wavs/{name}.wav" for name in "abcd"))
    (root / "metadata.csv").write_bytes("".join(f"{line}{ends}" for line in lines).encode())
    return {Path(each.name).stem: each.text for each in find_utterances(root)}


HELLO = {name: f"hello {name}" for name in "abcd"}


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "line",
    ["{0}|hello {0}", "{0}|hi|hello {0}", "{0}|hello {0}|", "{0} | hello {0} ", "{0}\thello {0}", "{0}.wav|hello {0}",
     "wavs/{0}.wav|hello {0}", "wavs/{0}|hello {0}", "./wavs/{0}.wav|hello {0}", "wavs\\{0}.wav|hello {0}",
     "/data/LJSpeech-1.1/wavs/{0}.wav|hello {0}"],
)  # fmt: skip
def test_a_line_names_its_sound_in_one_of_many_ways(line: str, ends: str, tmp_path: Path) -> None:
    assert ljspeech(tmp_path, [line.format(name) for name in "abcd"], ends) == HELLO


def test_a_fourth_column_is_no_part_of_the_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ljspeech(tmp_path, [f"{name}|hi {name}|hello {name}|7" for name in "abcd"]) == HELLO
    assert caplog.messages == [
        f"{tmp_path}/metadata.csv: the fourth column, such as '7', is not read; the third is the text"
    ]


def test_names_of_speakers_are_no_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ljspeech(tmp_path, [f"{name}|ann|hello {name}" for name in "abcd"]) == HELLO
    assert "the second column, such as 'ann', is not read; the third is the text" in caplog.text
    with pytest.raises(UserError, match=r"the third column, such as 'ann'.* has 1 different values for 4 texts"):
        ljspeech(tmp_path, [f"{name}|hello {name}|ann" for name in "abcd"])


def test_tabs_are_blanks_of_a_text_where_bars_part_columns(tmp_path: Path) -> None:
    lines = ["a|left\tright|left\tright", "b|x\ty", "c|z", "d|w"]
    assert ljspeech(tmp_path, lines) == {"a": "left\tright", "b": "x\ty", "c": "z", "d": "w"}
    lines = ["a\tone | two", "b\tx", "c\tz", "d\tw"]
    assert ljspeech(tmp_path, lines) == {"a": "one | two", "b": "x", "c": "z", "d": "w"}


def test_a_bar_in_a_text_leaves_its_line_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ljspeech(tmp_path, ["a|hello a", "b|hello b", "c|left | right", "d|hello d"]) == HELLO | {"c": None}
    assert caplog.messages == [
        f"{tmp_path}: 1 left aside: 1 line(s) with more columns than most, perhaps of a | in the text (line 3 of"
        " metadata.csv)"
    ]
    with pytest.raises(UserError, match=r"metadata\.csv, line 1 has 5 column\(s\): a line is NAME\|text"):
        ljspeech(tmp_path, [f"{name}|x | y|x | y" for name in "abcd"])
    with pytest.raises(UserError, match=r"line 1 has 1 column\(s\)"):
        ljspeech(tmp_path, ["file_name,text", "a,hello a", "b,hello b"])


def test_lines_that_name_nothing_or_something_twice_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["file|text", "a|hello a", "a|other", "a.wav|hello a", "", "b|hello b", "c|hello c", "d|hello d", "only"]
    assert ljspeech(tmp_path, lines) == HELLO
    assert caplog.messages == [
        f"{tmp_path}: 3 left aside: 1 line(s) without a text (line 9 of metadata.csv), 1 line(s) that name no sound"
        " (line 1 of metadata.csv, file), 1 line(s) with another text of a sound, whose first text is read (line 3 of"
        " metadata.csv, a)"
    ]


def test_folders_beside_wavs_are_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds(tmp_path, *(f"wavs_22k/{name}.wav" for name in "abcd"))
    assert ljspeech(tmp_path, [f"{name}|hello {name}" for name in "abcd"]) == HELLO
    names = [each.name for each in find_utterances(tmp_path, transcripts=False)]
    assert names == [f"wavs/{name}.wav" for name in "abcd"]
    assert set(caplog.messages) == {f"{tmp_path}: 4 sound(s) outside the folder wavs are not read (wavs_22k/a.wav)"}


def test_the_same_name_of_two_speakers_is_not_taken_for_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds(tmp_path, "ann/1.wav", "ann/2.wav", "bob/1.wav", "bob/2.wav", "bob/only.wav")
    (tmp_path / "transcripts.txt").write_text("1|whose?\nann/2|ann says 2\nbob/2.wav|bob says 2\nonly|bob alone\n")
    assert {each.name: each.text for each in find_utterances(tmp_path)} == {
        "ann/1.wav": None, "ann/2.wav": "ann says 2", "bob/1.wav": None, "bob/2.wav": "bob says 2",
        "bob/only.wav": "bob alone",
    }  # fmt: skip
    assert "1 line(s) that name several sounds (line 1 of transcripts.txt, 1: ann/1.wav and bob/1.wav)" in caplog.text


def test_a_path_in_a_list_is_of_no_other_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds(tmp_path, "ann/1.wav", "bob/2.wav")
    (tmp_path / "transcripts.txt").write_text("cat/1.wav|not ann\nbob/2.wav|bob\n")
    assert [each.text for each in find_utterances(tmp_path)] == [None, "bob"]
    assert "1 line(s) that name no sound (line 1 of transcripts.txt, cat/1.wav)" in caplog.text


def test_one_text_for_two_sounds_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds(tmp_path, "a.wav", "a.flac", "b.wav")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name)
    assert [each.text for each in find_utterances(tmp_path)] == ["a", "a", "b"]
    assert caplog.messages == [
        f"{tmp_path}: 2 sound(s) differ from another only in the suffix, and share its text (a.flac, a.wav)"
    ]


def test_chapters_report_what_they_leave_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds(tmp_path, "7/1/7-1-0.flac", "7/1/7-1-1.flac", "8/1/8-1-0.flac", "loose.flac")
    (tmp_path / "7/1/7-1.trans.txt").write_text("\ufeff7-1-0 ONE\x85TWO\n7-1-1 THREE\n7-1-9 NOBODY\n")
    (tmp_path / "8/1/8-1.trans.txt").write_text("8-1-0 FOUR\n")
    assert [each.text for each in find_utterances(tmp_path)] == ["ONE\x85TWO", "THREE", "FOUR"]
    assert caplog.messages == [
        f"{tmp_path}: 1 sound(s) outside SPEAKER/CHAPTER are not read (loose.flac)",
        f"{tmp_path}: 1 left aside: 1 line(s) that name no sound (line 3 of 7-1.trans.txt, 7-1-9)",
    ]


def test_texts_and_tables_of_no_sound_are_reported_where_sounds_lack_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sounds(tmp_path, "a.wav", "b.wav")
    for name in ("a.txt", "b_text.txt", "transcripts.txt", "metadata.csv"):
        (tmp_path / name).write_text("a|hello" if name == "transcripts.txt" else "b")
    assert [each.text for each in find_utterances(tmp_path)] == ["hello", None]
    assert caplog.messages == [f"{tmp_path}: 1 text file(s) have the name of no sound (b_text.txt)"]
    (tmp_path / "transcripts.txt").unlink()
    (tmp_path / "b_text.txt").rename(tmp_path / "b.txt")
    caplog.clear()
    assert [each.text for each in find_utterances(tmp_path)] == ["b", "b"]
    assert caplog.messages == [f"{tmp_path}/metadata.csv is not read: there is no folder wavs beside it"]


@pytest.mark.parametrize("line", ["a|" + "x" * 10**6 + "|" + "y" * 10**6, "|" * 10**6, "a/" * 10**6 + "a|far"])
def test_long_lines_take_no_more_time_than_they_are_long(line: str, tmp_path: Path) -> None:
    """Seconds, not hours."""
    assert ljspeech(tmp_path, [line, *(f"{name}|hello {name}" for name in "abcd")])["b"] == "hello b"
