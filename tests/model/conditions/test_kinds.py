"""What is particular to a kind: characters in pace with what is spoken, actions in their frames."""

import pytest
import torch

from mmgen.core.characters import NO_SYMBOL, Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout, prefix
from mmgen.core.tokens import TokenSpec
from mmgen.model.conditions import Characters, Conditions
from tests.model.conditions.worlds import GRID, WAYS, generator

SOUND = TokenSpec("residual", 16, (50, 1, 1), levels=3, modality="speech", rate=25.0, stride=640, first=640)


def characters(text: Text, reading: str = "frames", spec: TokenSpec = SOUND) -> Characters:
    torch.manual_seed(0)
    return Characters(text, spec, 8, reading).double()  # type: ignore[arg-type]


def test_an_action_belongs_to_its_frame_and_a_prefix_to_none() -> None:
    model, actions = generator(WAYS["actions"]), torch.tensor([[0, 1, -1, 0], [1, 1, 0, -1]])
    condition, layout = model.conditions({"actions": actions}), prefix(1) + grid_layout(GRID)
    actual = condition.at(layout)
    assert not actual[:, 0].any()
    table = model.conditions["actions"].table.weight
    for frame in range(4):
        expected = table[actions[:, frame]]  # -1 is the last row: none
        assert torch.equal(actual[:, 1 + 2 * frame], expected) and torch.equal(actual[:, 2 + 2 * frame], expected)
    order = torch.stack([torch.arange(9), torch.arange(8, -1, -1)])
    moved = condition.at(layout.take(order))
    assert torch.equal(moved[0], actual[0]) and torch.equal(moved[1], actual[1].flip(0))


def test_characters_stand_in_pace_and_each_counts_at_its_place() -> None:
    text = Text("ab ", 5, pace=0.2)
    made = characters(text, "prefix")
    assert made.layout.position[0, :, 0].tolist() == [0, 5, 10, 15, 20]  # 25 tokens a second, 0.2 s a character
    rows = [[0, 1], [1, 0], [0, 1, 0], [0], []]
    values = torch.tensor([[*row, *[NO_SYMBOL] * (5 - len(row))] for row in rows])
    actual = made(values).prefix
    assert all((actual[i] - actual[j]).abs().max() > 1e-3 for i in range(5) for j in range(i))
    assert torch.equal(made(made.null(1)).prefix[0], actual[-1])


def test_training_reads_a_text_as_far_off_as_it_will_be() -> None:
    """As if its words stood elsewhere: off by their spread, those that are near to each other together."""
    text, drawn = Text("ab ", 100, pace=0.02, spread=0.06), Draws(0, torch.arange(3000))
    made = characters(text)
    jitter = made.timing_jitter(drawn)
    assert jitter is not None and jitter.shape == (3000, 50)
    assert 2.0 < float(jitter[:, 0].double().std()) < 4.0  # 0.06 s are 3 places
    near, far = (torch.corrcoef(jitter[:, [0, frame]].double().T)[0, 1] for frame in (1, 30))
    assert near > 0.9 and abs(far) < 0.1
    symbols = text.encode_all(["ab" * 30])
    later = torch.cat([torch.full((1, 3), NO_SYMBOL), symbols[:, :-3]], dim=1)
    made.timing_jitter = lambda draws: torch.full((1, 50), -3)  # type: ignore[method-assign]
    torch.testing.assert_close(made(symbols, drawn).frames[:, 10:40], made(later).frames[:, 10:40])
    assert characters(Text("ab ", 100, pace=0.02)).timing_jitter(drawn) is None


def test_a_text_is_read_around_the_time_of_a_frame() -> None:
    """Places are 0.1 s, tokens 0.04 s: a frame sees two places to each side of its own, and later ones none."""
    text = Text("ab ", 20, pace=0.1)
    made = characters(text)
    assert made.layout.length == 0 and characters(text, "both").layout.length == 20
    symbols = text.encode_all(["ab" * 10])
    changed = symbols.clone()
    changed[0, 7] = 2
    frames, others = made(symbols).frames, made(changed).frames
    assert frames.shape[:2] == (1, 50)
    place = ((torch.arange(50) + 0.5) * 0.4).long()
    assert torch.equal((frames != others).any(-1)[0], (place - 7).abs() <= 2)
    added = Conditions({"text": made}, 8, start=True)({"text": symbols}).at(prefix(1) + grid_layout((60, 1, 1)))
    assert torch.equal(added[:, 1:51], frames)
    assert not added[:, 0].any() and not added[:, 51:].any()
    with pytest.raises(UserError, match="reading 'frames' needs tokens with a rate in time"):
        characters(text, spec=TokenSpec("categorical", 16, (1, 2, 2)))
