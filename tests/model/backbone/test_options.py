"""Options as a command line has them, also where a class holds the backbone: `null` turns rotary positions off, and
mixers are named by class.
"""

from collections.abc import Callable

import pytest
from jsonargparse import ArgumentParser

from mmgen.model.backbone import Transformer
from mmgen.model.backbone.mixers import Attention, Recurrence
from mmgen.store.allowed_imports import VARIABLE, restrict_imports


class Holder:
    def __init__(self, backbone: Transformer) -> None:
        self.backbone = backbone


@pytest.mark.parametrize(
    ("option", "value", "is_right"),
    [
        ("rope", "null", lambda made: made.rotary is None),
        ("rope", "[1,0,0]", lambda made: made.rotary is not None),
        (
            "mixers",
            "[Recurrence, {class_path: mmgen.model.backbone.mixers.Attention}]",
            lambda made: [type(block.mixer) for block in made.blocks] == [Recurrence, Attention] * 2,
        ),
    ],
)
def test_an_option_of_the_command_line(
    option: str, value: str, is_right: Callable[[Transformer], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "tests")
    restrict_imports()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=Holder)
    words = ["--model", f"{__name__}.Holder", "--model.backbone", "mmgen.model.backbone.Transformer"]
    model = parser.instantiate(parser.parse_args([*words, f"--model.backbone.{option}", value])).model
    assert is_right(model.backbone)
