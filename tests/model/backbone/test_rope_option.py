"""`null` on a command line turns rotary positions off, also where a class holds the backbone."""

import pytest
from jsonargparse import ArgumentParser

from mmgen.model.backbone import Transformer
from mmgen.store.allowed_imports import VARIABLE, restrict_imports


class Holder:
    def __init__(self, backbone: Transformer) -> None:
        self.backbone = backbone


def test_null_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "tests")
    restrict_imports()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=Holder)
    given = ["--model", f"{__name__}.Holder", "--model.backbone", "mmgen.model.backbone.Transformer"]
    for value, turns in {"null": False, "[1,0,0]": True}.items():
        made = parser.instantiate(parser.parse_args([*given, "--model.backbone.rope", value]))
        assert (made.model.backbone.rotary is not None) == turns
