"""The data module: batches, what is known before setup, and mistakes told in one line."""

import subprocess
import sys
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from mmgen.core.errors import UserError
from mmgen.data import DataModule
from mmgen.data.sources import Samples, Source
from mmgen.modalities.image.sources.digits import Digits
from tests.data.training import QUIET, Recorder
from tests.data_modules import data_module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Digits.make_fake(tmp_path_factory.mktemp("fake"), samples=50)["folder"]


@pytest.fixture
def data(folder, means, monkeypatch):
    """Digits with a tokenizer that need not be trained first."""
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: {"runs/means": means}[path])
    return data_module(Digits, global_batch_size=8, tokenizer="runs/means", folder=folder)


def test_facts_are_known_before_setup(data, means):
    assert (data.spec, data.source.classes, data.source.sample_shape) == (means.spec, 10, (1, 28, 28))
    assert data.source.class_names == [str(digit) for digit in range(10)]
    assert data.tokenizer is means
    assert data.tokenizer_path == "runs/means"
    assert len(data.samples("val")) == 10
    assert data_module(Digits).spec is None
    assert data_module(Digits).tokenizer is None


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_validation_and_test_see_the_whole_split_in_order(data, stage):
    module = Recorder()
    getattr(L.Trainer(**QUIET), stage)(module, data, verbose=False)
    assert [batch["sample"].tolist() for batch in module.validated] == [list(range(0, 40, 5)), [40, 45]]


@pytest.mark.filterwarnings("error:.*batch sampler.*", "error:.*indices.*")
def test_prediction_sees_the_whole_split_in_order(data):
    predicted = L.Trainer(**QUIET).predict(Recorder(), data)
    assert torch.cat(predicted).tolist() == list(range(0, 50, 5))


def test_batches_carry_tokens_of_a_frozen_tokenizer_outside_the_model(data, means):
    module = Recorder()
    means.train()
    trainer = L.Trainer(max_steps=7, limit_val_batches=0, **QUIET)
    trainer.fit(module, data)
    assert len(module.batches) == 7
    for batch in module.batches:
        assert batch["tokens"].values.equal(means.encode(batch["x"]).values)
        assert batch["tokens"].grid == (1, 4, 4)
        assert {name: batch[name].dtype for name in ("label", "sample", "epoch")} == dict.fromkeys(
            ("label", "sample", "epoch"), torch.int64
        )
    assert torch.cat([batch["epoch"] for batch in module.batches]).tolist() == [0] * 40 + [1] * 16
    assert set(module.state_dict()) == {"weight"}
    assert not any(child is means for child in module.modules())


def stub(ranks, rank=0, accumulate=1, distributed_sampler=False):
    """As much of a trainer as the data module looks at, on several processes."""
    progress = SimpleNamespace(total=SimpleNamespace(processed=0))
    return SimpleNamespace(
        world_size=ranks,
        accumulate_grad_batches=accumulate,
        distributed_sampler_kwargs={"rank": rank, "num_replicas": ranks},
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress)),
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=distributed_sampler),
    )


@pytest.mark.parametrize(("ranks", "accumulate"), [(2, 1), (4, 1), (2, 2)])
def test_processes_share_training_and_validation(folder, ranks, accumulate):
    train, val = [], []
    for rank in range(ranks):
        data = data_module(Digits, global_batch_size=8, folder=folder)
        data.trainer = stub(ranks, rank, accumulate)
        assert data.split.per_device == 8 // ranks // accumulate
        train.append([batch["sample"] for batch, _ in zip(data.train_dataloader(), range(3 * accumulate))])
        val.append([batch["sample"] for batch in data.val_dataloader()])
    alone = [
        batch["sample"]
        for batch, _ in zip(data_module(Digits, global_batch_size=8, folder=folder).train_dataloader(), range(3))
    ]
    assert torch.cat([batch for step in zip(*train, strict=True) for batch in step]).equal(torch.cat(alone))
    assert torch.cat([batch for share in val for batch in share]).sort().values.tolist() == list(range(0, 50, 5))
    assert len({len(share) for share in val}) == 1


def test_the_split_of_the_global_batch_is_printed(data, caplog):
    caplog.set_level("INFO", logger="lightning.pytorch")
    L.Trainer(max_steps=1, accumulate_grad_batches=2, limit_val_batches=0, **QUIET).fit(Recorder(), data)
    assert "global batch 8 = 4 per device x 1 device(s) x 2 accumulated" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": 4, "accumulate_grad_batches": 3}, "global_batch_size 8 does not divide into .* x 3 accumulated"),
        ({}, "set trainer.max_steps"),
        ({"max_epochs": 3}, "set trainer.max_steps"),
        ({"max_steps": 4, "max_epochs": 3}, r"max_epochs 3 does nothing.* set trainer\.max_steps; .* steps of 8"),
        ({"max_steps": 4, "max_epochs": -1, "min_epochs": 2}, r"min_epochs 2 .* set trainer\.min_steps"),
        ({"max_steps": 4, "limit_train_batches": 0}, "nothing to train on"),
        ({"max_steps": 4, "callbacks": [GradientAccumulationScheduler({0: 2})]}, "place in the data is lost"),
        ({"max_steps": 4, "overfit_batches": 2}, "overfit_batches"),
        ({"max_steps": 4, "limit_train_batches": 0.5}, "whole number"),
        ({"max_steps": 4, "limit_train_batches": 3, "accumulate_grad_batches": 2}, "take a multiple of 2"),
    ],
)
def test_settings_that_a_stream_cannot_honour_are_refused(data, settings, message):
    with pytest.raises(UserError, match=message):
        L.Trainer(**QUIET, **settings).fit(Recorder(), data)


@pytest.mark.parametrize("settings", [{"max_epochs": 2, "limit_train_batches": 3}, {"max_time": "00:00:00:00"}])
def test_other_ends_than_max_steps_are_honoured(data, settings):
    module = Recorder()
    L.Trainer(limit_val_batches=0, **QUIET, **settings).fit(module, data)
    assert len(module.batches) == 6 if "max_epochs" in settings else 1


def test_lightnings_own_division_is_refused(folder):
    data = data_module(Digits, folder=folder)
    data.trainer = stub(ranks=2, distributed_sampler=True)
    with pytest.raises(UserError, match="use_distributed_sampler to false"):
        data.setup("fit")


class Raw(Source, Samples):
    """Ten samples as they are given."""

    class_names: list[str] = []  # noqa: RUF012
    sample_shape = (1, 2, 2)

    def __init__(self, x):
        self.x = x

    def samples(self, split):
        return self

    def describe(self):
        return {}

    def __len__(self):
        return 10

    def take(self, index):
        return {"x": self.x.expand(len(index), 1, 2, 2), "label": index, "sample": index}


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.tensor([[0.0, 255.0], [3.0, 4.0]]), "float32 from 0 to 255"),
        (torch.tensor([[-1.2, 0.0], [0.5, 1.0]]), "float32 from -1.2 to 1"),
        (torch.tensor([[0, 1], [0, 1]], dtype=torch.uint8), "uint8 from 0 to 1"),
        (torch.tensor([[0.0, float("nan")], [0.0, 1.0]]), "from nan to nan"),
    ],
)
def test_a_first_batch_out_of_range_is_refused(x, message):
    data = DataModule(Raw(x), global_batch_size=2)
    with pytest.raises(UserError, match=message):
        L.Trainer(max_steps=1, limit_val_batches=0, **QUIET).fit(Recorder(), data)


def test_raw_samples_need_no_lightning():
    code = (
        "import sys; import mmgen.data, mmgen.data.build, mmgen.data.stream, mmgen.data.loader, mmgen.data.tokenize;"
        "assert not {'lightning', 'pytorch_lightning', 'diffusers', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
