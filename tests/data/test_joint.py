"""Several data modules as one: each member's stream is the one it would have alone, also after a kill."""

import lightning as L
import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.data import JointData
from mmgen.data.sources import CachedTokens
from mmgen.modalities.image.sources.digits import Digits
from tests.data.training import QUIET, Recorder, SaveAfter, slots_of
from tests.data_modules import data_module

STEPS = 8
SIZES = {"image": 6, "sound": 4}  # of 40 and of 16 training samples: epochs end within steps, at different ones
SOUND = TokenSpec("residual", 8, (5, 1, 1), levels=2, modality="speech", rate=10.0)


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Makes fresh data modules of 50 digits and 20 sounds."""
    digits = Digits.make_fake(tmp_path_factory.mktemp("digits"), samples=50)
    sounds = CachedTokens.make_fake(tmp_path_factory.mktemp("sounds"), 20, SOUND)

    def make(**changes):
        sizes = SIZES | changes
        return {
            "image": data_module(Digits, global_batch_size=sizes["image"], **digits),
            "sound": data_module(CachedTokens, global_batch_size=sizes["sound"], **sounds),
        }

    return make


def fit(module, data, accumulate=1, callbacks=(), ckpt_path=None, **changes):
    options = (
        QUIET
        | {"num_sanity_val_steps": 0, "max_steps": STEPS, "accumulate_grad_batches": accumulate, "limit_val_batches": 0}
        | changes
    )
    L.Trainer(callbacks=list(callbacks), **options).fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return module


def stream(module, name):
    return [slot for batch in module.batches for slot in slots_of(batch[name])]


def test_each_member_goes_through_the_stream_that_it_has_alone(members):
    together = fit(Recorder(), JointData(members(), seed=3))
    for name, data in members().items():
        data.seed = 3
        alone = fit(Recorder(), data)
        assert [slots_of(batch[name]) for batch in together.batches] == alone.seen
        assert len(stream(together, name)) == STEPS * SIZES[name]


def test_workers_change_no_batch(members):
    loading = members()
    loading["image"].num_workers = 2
    one, other = fit(Recorder(), JointData(loading)), fit(Recorder(), JointData(members()))
    assert all(stream(one, name) == stream(other, name) for name in SIZES)


@pytest.mark.parametrize(
    ("before", "after", "batch", "step"), [(1, 1, 5, 5), (2, 2, 7, 3), (2, 1, 8, 4), (1, 2, 3, 3), (2, 1, 5, 2)]
)
def test_a_resumed_run_goes_on_with_the_very_next_sample_of_each(members, tmp_path, before, after, batch, step):
    whole, resumed, file = fit(Recorder(), JointData(members())), Recorder(), tmp_path / "here.ckpt"
    fit(Recorder(), JointData(members()), before, [SaveAfter(batch, file)])
    fit(resumed, JointData(members()), after, ckpt_path=file)
    for name, size in SIZES.items():
        assert stream(resumed, name) == stream(whole, name)[step * size :]
    assert resumed.trainer.global_step == STEPS


def test_validation_reads_every_split_once_and_in_order(members):
    module = fit(Recorder(), JointData(members()), limit_val_batches=None, max_steps=1, val_check_interval=1)
    number = torch.arange(50)
    whole = {"image": number[number % 5 == 0].tolist(), "sound": number[:20][number[:20] % 5 == 0].tolist()}
    for name, samples in whole.items():
        parts = [batch[name] for batch in module.validated]
        assert [sample for part in parts if part is not None for sample in part["sample"].tolist()] == samples
    assert [batch["sound"] is None for batch in module.validated] == [False, True]


def test_every_batch_holds_tokens_where_the_member_has_some(members):
    data = JointData(members())
    batch = {name: next(iter(loader)) for name, loader in data.train_dataloader().items()}
    found = data.on_after_batch_transfer(batch | {"image": None}, 0)
    assert found["image"] is None
    assert found["sound"]["tokens"].values.shape == (4, 5, 2)


def test_it_knows_what_its_members_know(members):
    facts = JointData(members()).facts
    assert facts["sound"].spec == SOUND
    assert facts["image"].spec is None
    assert facts["image"].class_names == [str(digit) for digit in range(10)]


def test_mistakes_are_told_in_one_line(members, tmp_path):
    with pytest.raises(UserError, match=r"data\.members is empty"):
        JointData({})
    seeded = members()
    seeded["sound"].seed = 4
    with pytest.raises(UserError, match=r"data\.members\.sound\.seed follows --seed_everything"):
        JointData(seeded)
    fit(Recorder(), JointData(members()), callbacks=[SaveAfter(1, tmp_path / "here.ckpt")], max_steps=1)
    other = members()
    other["speech"] = other.pop("sound")
    with pytest.raises(UserError, match=r"was trained on image, sound, this run has image, speech"):
        fit(Recorder(), JointData(other), ckpt_path=tmp_path / "here.ckpt")
    with pytest.raises(UserError, match="does not divide into"):
        fit(Recorder(), JointData(members(sound=3)), accumulate=2)
