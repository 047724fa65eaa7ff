from pathlib import Path

from mmgen.core.masks import CATALOGUE
from mmgen.page.collect import curve, mask_pictures
from mmgen.store.store import load_generator
from tests.tiny_runs import generator_run, tokenizer_run


def test_a_curve_joins_the_logs_of_a_run_and_of_its_resumption(tmp_path: Path) -> None:
    for version, rows in (("0", "0,9,1.5,\n0,9,,2.5\n"), ("1", "0,19,0.5,\n")):
        file = tmp_path / "logs" / "csv" / f"version_{version}" / "metrics.csv"
        file.parent.mkdir(parents=True)
        file.write_text("epoch,step,train/ar,val/ar\n" + rows)
    made = curve(tmp_path, "Run", "nats", {"ar": "train/ar"}, {"ar": "val/ar", "other": "val/other"})
    assert made.lines == {"ar": [(10, 1.5), (20, 0.5)]}
    assert made.points == {"ar": [(10, 2.5)], "other": []}


def test_the_masks_in_use_come_first_with_their_modes(tmp_path: Path) -> None:
    loaded = load_generator(generator_run(tmp_path / "gen", tokenizer_run(tmp_path / "tok")))
    cards = mask_pictures(loaded.paradigm.modes())
    assert [(card.name, card.modes) for card in cards[:3]] == [
        ("causal", ["ar"]), ("bidirectional", ["masked"]), ("skip_causal", ["block"]),
    ]  # fmt: skip
    assert sorted(card.name for card in cards) == sorted(CATALOGUE)
    assert all(card.webp.startswith(b"RIFF") and card.sentence for card in cards)
