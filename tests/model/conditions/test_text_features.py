"""Vectors of a frozen text encoder, or stored ones, as a condition."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import FreeText
from mmgen.model.conditions import Conditions, TextFeatures, build_conditions
from mmgen.paradigms import Guidance, Masked, Request, SampleOptions
from tests.model.conditions.worlds import generator

SPEC = TokenSpec("categorical", 16, (1, 2, 2))
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "heart"]
EVERY = ("prefix", "modulation", "cross_attention")


def encoder(folder: Path, kind: str = "bert", seed: int = 0) -> str:
    """A tiny text encoder of transformers with random weights."""
    import transformers

    torch.manual_seed(seed)
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    if kind == "bert":
        config = transformers.BertConfig(
            vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        transformers.BertModel(config).save_pretrained(folder)
    else:
        config = transformers.T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        transformers.T5Model(config).save_pretrained(folder)
    return str(folder)


def stored(path: Path) -> str:
    """Three vectors of two captions."""
    features = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    captions, mask = ["red heart", "blue"], torch.tensor([[True, True, True], [True, False, False]])
    if path.suffix == ".npz":
        np.savez(path, captions=np.array(captions), features=features.numpy(), mask=mask.numpy())
    else:
        save_file({"features": features, "mask": mask}, path, {"captions": json.dumps(captions)})
    return str(path)


def condition(path: str, **options: object) -> TextFeatures:
    factory = partial(TextFeatures, encoder=path, **{"enters": EVERY, "length": 6, **options})  # type: ignore[arg-type]
    made = build_conditions({"caption": factory}, {"caption": FreeText()}, SPEC, 8)["caption"]
    assert isinstance(made, TextFeatures)
    return made


@pytest.mark.parametrize("kind", ["bert", "t5", "captions.npz", "captions.safetensors"])
def test_a_text_enters_in_every_way_and_none_is_one_learned_vector(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = condition(stored(tmp_path / kind) if "." in kind else encoder(tmp_path / kind, kind))
    texts = made.encode(["red heart", "blue"])
    made.check(texts, 2)
    prefix, vector, _, memory, real = made(torch.cat([texts, made.null(1)]))
    length = made.layout.length
    assert prefix.shape == memory.shape == (3, length, 8) and vector.shape == (3, 8) and real.shape == (3, length)
    assert not torch.allclose(prefix[0], prefix[1]) and not torch.allclose(vector[0], vector[1])
    assert real[2].tolist() == [True] + [False] * (length - 1)
    assert torch.equal(prefix[2, 0], made.none) and torch.equal(memory[2, 0], made.none)
    assert torch.equal(prefix[1][~real[1]], made.padding.expand(int((~real[1]).sum()), -1))
    assert not memory[~real].any()
    shorter = made(texts[1:])
    torch.testing.assert_close(shorter.memory[0], memory[1])  # alone or in a batch, padding or not
    torch.testing.assert_close(shorter.vector[0], vector[1])


def test_the_encoder_is_no_part_of_the_model_and_must_stay_the_same(tmp_path: Path) -> None:
    first, other = (condition(encoder(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert not any(name.startswith("source") for name in first.state_dict())
    assert sum(p.numel() for p in first.parameters()) == 16 * 8 + 8 + 8 * 8 + 8 + 8 + 8
    conditions = Conditions({"caption": first}, 8, start=True)
    Conditions({"caption": condition(first.encoder)}, 8, start=True).load_state_dict(conditions.state_dict())
    with pytest.raises(UserError, match="is not the text encoder that the model was trained with"):
        Conditions({"caption": other}, 8, start=True).load_state_dict(conditions.state_dict())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: str(folder / "nowhere"), "nowhere does not exist"),
        (lambda folder: str(folder), "is no text encoder of transformers"),
        (lambda folder: _write(folder / "captions.npz"), "cannot be read as features of texts"),
    ],
)
def test_what_is_no_encoder_is_refused(make, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"model.conditions.caption: .*{reason}"):
        condition(make(tmp_path))


def test_a_caption_that_is_not_stored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'green' is not among the 2 captions"):
        condition(stored(tmp_path / "captions.npz")).encode(["green"])


def test_a_caption_that_is_stored_twice_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", captions=["red", "blue", "red"], features=np.zeros((3, 2, 4), np.float32))
    with pytest.raises(UserError, match="has features of 'red' twice"):
        condition(str(tmp_path / "x.npz"))


def _write(path: Path) -> str:
    path.write_text("no arrays")
    return str(path)


def test_cross_attention_reads_the_text_and_no_padding(tmp_path: Path) -> None:
    """Texts of other lengths side by side, cached or not, guided or not: each as alone."""
    factory = partial(TextFeatures, encoder=stored(tmp_path / "captions.npz"), enters=("cross_attention",))
    model = generator({"caption": factory}, Masked(), SPEC, {"caption": FreeText()}, cross_attention=True)
    assert model.prefix_length == 0
    tokens, row = torch.zeros(3, 4, dtype=torch.int64), grid_layout(SPEC.grid)
    texts = torch.cat([model.conditions["caption"].encode(["red heart", "blue"]), model.conditions["caption"].null(1)])
    condition = model.conditions({"caption": texts})
    actual = model(tokens, row, Masked().mask, condition)
    assert len(actual[:, 0].unique(dim=0)) == 3
    assert condition.memory is not None and condition.memory_mask is not None
    noise = condition.memory + 9.0 * ~condition.memory_mask[..., None]
    assert torch.equal(model(tokens, row, Masked().mask, condition._replace(memory=noise)), actual)
    for number in range(3):
        single = model(tokens[:1], row, Masked().mask, condition.rows(torch.tensor([number])))
        torch.testing.assert_close(single[0], actual[number])
    options = SampleOptions(guidance=Guidance(2.0))
    with torch.no_grad():
        request = Request(Draws(0, torch.arange(2)), conditions={"caption": ["red heart", "blue"]})
        *_, last = Masked().sample(model, request, options)
    assert last.committed.all()


def test_a_backbone_and_a_condition_meet_in_cross_attention(tmp_path: Path) -> None:
    factory = partial(TextFeatures, encoder=stored(tmp_path / "captions.npz"), enters=("cross_attention",))
    with pytest.raises(UserError, match="enters by cross-attention, and the backbone has none"):
        generator({"caption": factory}, Masked(), SPEC, {"caption": FreeText()})
    with pytest.raises(UserError, match="no condition enters by it"):
        generator({}, Masked(), SPEC, cross_attention=True)
