import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.modalities.video.actions import clip_actions, read_actions
from mmgen.store.store import Loaded, load_generator
from tests.tiny_runs import video_run, video_tokenizer_run


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Its actions are stay, left and right."""
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(video_run(folder / "gen", video_tokenizer_run(folder / "tok")))


def test_a_list_of_names_and_numbers_is_repeated(loaded: Loaded) -> None:
    assert read_actions("left, 0,right", loaded, 7).tolist() == [1, 0, 2, 1, 0, 2, 1]
    assert read_actions("left,0,right", loaded, 2).tolist() == [1, 0]
    assert read_actions("2", loaded, 3).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", "left\nright\n0\n"), ("a.csv", "left,right,0"), ("a.json", json.dumps(["left", 2, "stay"]))],
)
def test_a_file_holds_one_a_frame(name: str, text: str, loaded: Loaded, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert read_actions(str(tmp_path / name), loaded, 3).tolist() == [1, 2, 0]
    assert read_actions(str(tmp_path / name), loaded, 1).tolist() == [1]
    with pytest.raises(UserError, match=f"{name} holds 3 actions, but 4 frames are to be generated"):
        read_actions(str(tmp_path / name), loaded, 4)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", "[1, ", "is damaged or no JSON"),
        ("a.txt", "\ud800", "line 1: this is not UTF-8"),
        ("a.json", '{"left": 1}', "must hold a list of actions"),
        ("a.json", "[[1], [2]]", "must hold a list of actions"),
        ("a.txt", "left\nup\n", "actions 'up' is unknown"),
        ("a.txt", "", "holds 0 actions"),
    ],
)
def test_a_file_that_holds_none_is_refused(name: str, text: str, told: str, loaded: Loaded, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, errors="surrogatepass")
    with pytest.raises(UserError, match=told) as caught:
        read_actions(str(tmp_path / name), loaded, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rihgt", "gen: --actions 'rihgt' is unknown: known are stay, left, right; did you mean 'right'"),
        ("3", "actions 3 is out of range: known are 0 to 2"),
        ("-1", "actions -1 is out of range"),
        ("left,", "actions '' is unknown"),
    ],
)
def test_an_unknown_action_is_named(text: str, told: str, loaded: Loaded) -> None:
    with pytest.raises(UserError, match=told):
        read_actions(text, loaded, 2)


def actions_of(*arguments: Any) -> torch.Tensor:
    actions = clip_actions(*arguments)
    assert actions is not None
    return actions


def test_the_first_action_leads_to_the_first_generated_frame(loaded: Loaded) -> None:
    recorded = torch.tensor([[-1, 2, 2, 2], [-1, 0, 0, 0]])
    assert clip_actions(None, loaded, 2, 5, 0, None) is None
    assert actions_of("left,right", loaded, 2, 5, 0, None).tolist() == [[-1, 1, 2, 1, 2]] * 2
    assert actions_of("left,right", loaded, 2, 5, 3, None).tolist() == [[-1, -1, -1, 1, 2]] * 2
    assert actions_of("left,right", loaded, 2, 5, 3, recorded).tolist() == [[-1, 2, 2, 1, 2], [-1, 0, 0, 1, 2]]


def test_recorded_actions_reach_as_far_as_they_were_recorded(loaded: Loaded) -> None:
    recorded = torch.tensor([[-1, 2, 2, 2], [-1, 0, 0, 0]])
    assert torch.equal(actions_of("recorded", loaded, 2, 3, 1, recorded), recorded[:, :3])
    with pytest.raises(UserError, match="4 actions were recorded a clip, but --frames is 5"):
        clip_actions("recorded", loaded, 2, 5, 1, recorded)
    with pytest.raises(UserError, match="needs --context held_out"):
        clip_actions("recorded", loaded, 2, 3, 1, None)
