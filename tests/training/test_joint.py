"""Several modalities over one backbone: a joint run with one member is that member, and each adds its gradient."""

import csv
from dataclasses import replace

import lightning as L
import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.data import JointData
from mmgen.data.sources import CachedTokens
from mmgen.model.backbone import Transformer
from mmgen.paradigms import Autoregressive, CodebookAutoregressive, Masked, MaskedCodebooks, Mixture
from mmgen.store.store import load_generator
from mmgen.training import GeneratorModule, JointModule
from mmgen.training.joint_module import Member
from mmgen.training.optim import FusedAdamW, WarmupCosine
from mmgen.training.startup import parts
from tests.data.training import QUIET
from tests.data_modules import data_module, data_section
from tests.training.fits import QUICK, checkpoint, fit, killed_and_resumed
from tests.training.test_resume import same

SPECS = {
    "image": TokenSpec("bits", 4, (1, 3, 3)),
    "motion": TokenSpec("residual", 8, (5, 1, 1), levels=2, modality="speech", rate=10.0),
}
SIZES = {"image": 6, "motion": 4}
RATES = {
    "optimizer": lambda params: FusedAdamW(params, lr=1e-2),
    "lr_scheduler": lambda optimizer: WarmupCosine(optimizer, warmup_steps=2),
}


def member(name, **options):
    """As a recipe says it."""
    members = {
        "image": {"ar": Autoregressive(), "masked": Masked(steps=2)},
        "motion": {"ar": CodebookAutoregressive(), "masked": MaskedCodebooks(steps=(2, 1))},
    }
    positions = {"image": "learned", "motion": "none"}
    return {"paradigm": Mixture(members[name]), "positions": positions[name]} | options


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """name -> tokens of no tokenizer: 20 images and 30 motions, one in five held out."""
    made = {name: tmp_path_factory.mktemp(name) for name in SPECS}
    for name, spec in SPECS.items():
        CachedTokens.make_fake(made[name], {"image": 20, "motion": 30}[name], spec, classes=3)
    return made


@pytest.fixture
def data(folders):
    return {name: data_module(CachedTokens, str(folders[name]), global_batch_size=SIZES[name]) for name in SPECS}


def backbone(**options):
    torch.manual_seed(0)
    return Transformer(**{"dim": 16, "depth": 1, "heads": 2, "rope": (2, 1, 1)} | options)


def joint(data, names=tuple(SPECS), weights=None, **options):
    facts = JointData({name: data[name] for name in names}).facts
    shared, weights = backbone(**options), weights or dict.fromkeys(names, 1.0)
    members = {name: Member(**member(name), weight=weights[name]) for name in names}
    return JointModule(facts, 3, shared, members, **RATES)


def alone(data, name, shared=None, **options):
    shared = shared or backbone(**options)
    return GeneratorModule(data[name].facts, seed=3, backbone=shared, **member(name), **RATES)


class Losses(L.Callback):
    """Every step's loss."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(outputs["loss"].item())


def train(module, data, steps=5):
    """Losses of every step, and the last figures."""
    losses = Losses()
    options = {"max_steps": steps, "num_sanity_val_steps": 0, "gradient_clip_val": 1.0, "inference_mode": False}
    options |= {"val_check_interval": steps, "check_val_every_n_epoch": None, "log_every_n_steps": 1}
    trainer = L.Trainer(callbacks=[losses], **QUIET | options)
    torch.manual_seed(0)  # of dropout
    trainer.fit(module, data)
    return losses.seen, trainer.callback_metrics


@pytest.mark.parametrize("name", SPECS)
def test_a_joint_run_with_one_member_is_that_member(data, name):
    """Bit for bit, dropout included: every step's loss, the validation, and the weights in the end."""
    single, together = alone(data, name, dropout=0.2), joint(data, (name,), dropout=0.2)
    data[name].seed = 3
    losses, figures = train(single, data[name])
    joint_losses, joint_figures = train(together, JointData({name: data[name]}, seed=3))
    assert joint_losses == losses
    assert len(set(losses)) == 5
    for figure in ("ar", "masked", "loss"):
        assert joint_figures[f"val/{name}/{figure}"] == figures[f"val/{figure}"]
    assert joint_figures["val/loss"] == figures["val/loss"]
    same(dict(together.members[name].state_dict()), dict(single.state_dict()))


def test_the_backbone_has_the_sum_of_the_members_gradients(data):
    """By their weights; the ends of each have its own alone."""
    together = joint(data, weights={"image": 1.0, "motion": 3.0}).double()
    for parameter in together.parameters():  # also where initialisation puts zeros
        torch.nn.init.normal_(parameter, std=0.3)
    together.log = together.log_dict = lambda *_, **__: None
    batches = {name: next(data[name].samples("train").batches(4)) for name in SPECS}
    epoch = torch.zeros(4, dtype=torch.long)
    batches = {name: data[name].on_after_batch_transfer(batch | {"epoch": epoch}, 0) for name, batch in batches.items()}
    together.training_step(batches, 0).backward()
    found = {name: parameter.grad.clone() for name, parameter in together.backbone.named_parameters()}
    ends = {name: part.generator.head.state_dict(keep_vars=True) for name, part in together.parts()}
    of_ends = {name: {key: value.grad.clone() for key, value in end.items()} for name, end in ends.items()}
    expected = {name: torch.zeros_like(grad) for name, grad in found.items()}
    for name, share in {"image": 0.25, "motion": 0.75}.items():
        together.zero_grad()
        losses = together.members[name].losses(batches[name])
        torch.cat(list(losses.values())).mean().backward()
        for key, parameter in together.backbone.named_parameters():
            expected[key] += share * parameter.grad
        for key, value in ends[name].items():
            torch.testing.assert_close(of_ends[name][key], share * value.grad, rtol=1e-9, atol=1e-12)
    for key, grad in found.items():
        assert grad.abs().max() > 0, key
        torch.testing.assert_close(grad, expected[key], rtol=1e-9, atol=1e-12)


def test_all_members_share_one_backbone_in_memory(data):
    module = joint(data)
    ends = sum(
        p.numel() for _, part in module.parts() for n, p in part.generator.named_parameters() if "backbone" not in n
    )
    assert sum(p.numel() for p in module.parameters()) == ends + sum(p.numel() for p in module.backbone.parameters())


def test_validation_counts_every_member_the_same(data):
    """Also the one with more samples: val/loss is the mean of the members' means, each what it is alone."""
    module = joint(data)
    _, figures = train(module, JointData(data), steps=1)
    modes = {f"val/{name}/{mode}" for name in SPECS for mode in ("ar", "masked", "loss")}
    assert modes | {"val/loss"} == {name for name in figures if name.startswith("val/")}
    assert {"train/loss", "train/image/loss", "train/motion/loss"} <= figures.keys()
    means = [figures[f"val/{name}/loss"] for name in SPECS]
    assert figures["val/loss"].item() == pytest.approx(sum(means).item() / 2)
    for name, part in module.parts():
        trainer = L.Trainer(**QUIET, inference_mode=False)
        (own,) = trainer.validate(part, data[name], verbose=False)
        assert own["val/loss"] == pytest.approx(figures[f"val/{name}/loss"].item())


def test_names_that_do_not_agree_are_told_in_one_line(data):
    facts = JointData(data).facts
    members = {name: Member(**member(name)) for name in SPECS}
    image = {"image": members["image"]}
    raw = replace(facts["image"], spec=None)
    mistakes = {
        "model.members.motion has no data: data.members has image": ({"image": facts["image"]}, members),
        "model.members.imago has no data: data.members has image; did you": (
            {"image": facts["image"]},
            {"imago": members["image"]},
        ),
        "data.members.motion is the data of no member: model.members has image;": (facts, image),
        "model.members.image has no data: use JointData": (None, image),
        "model.members is empty": (facts, {}),
        "model.members.image: a generator trains on tokens": ({"image": raw}, image),
        "model.members.image.weight must be positive": (
            {"image": facts["image"]},
            {"image": Member(**member("image"), weight=0.0)},
        ),
        "model.members cannot have a member 'a/b'": ({"a/b": facts["image"]}, {"a/b": members["image"]}),
        "model.members cannot have a member 'items'": ({"items": facts["image"]}, {"items": members["image"]}),
    }
    for told, (known, wanted) in mistakes.items():
        with pytest.raises(UserError) as caught:
            JointModule(known, 0, backbone(), wanted)
        assert str(caught.value).startswith(told)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def recipe(folders, digits, tokenizer, tmp_path_factory):
    """Fake digits through a tokenizer, and fake motions as tokens."""
    masked = {"class_path": "Masked", "init_args": {"steps": 2}}
    codes = {"class_path": "MaskedCodebooks", "init_args": {"steps": [2, 1]}}
    mixture = {"class_path": "Mixture", "init_args": {"members": {"ar": {"class_path": "CodebookAutoregressive"}}}}
    mixture["init_args"]["members"]["masked"] = codes
    narrow = {"dim": 16, "depth": 1, "heads": 2, "rope": [2, 1, 1], "dropout": 0.2}
    image = data_section("Digits", folder=digits[0].partition("=")[2], tokenizer=str(tokenizer), global_batch_size=6)
    motion = data_section("CachedTokens", path=str(folders["motion"]), global_batch_size=4)
    config = {
        "model": {
            "class_path": "JointModule",
            "init_args": {
                "backbone": {"class_path": "Transformer", "init_args": narrow},
                "members": {"image": {"paradigm": masked}, "motion": {"paradigm": mixture, "positions": "none"}},
            },
        },
        "data": {"class_path": "JointData", "init_args": {"members": {"image": image, "motion": motion}}},
    }
    file = tmp_path_factory.mktemp("recipe") / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return f"--config={file}"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_killed_run_goes_on_bit_for_bit(recipe, accumulate, tmp_path):
    """16 digits by 6 and 24 motions by 4: the members' epochs end at different steps."""
    options = [recipe, "--trainer.max_steps=7", "--ema.decay=0.9", "--checkpoint.every_n_train_steps=2"]
    options += [f"--trainer.accumulate_grad_batches={accumulate}", "--trainer.val_check_interval=3"]
    whole, resumed = killed_and_resumed(tmp_path, JointModule, options)
    for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "JointData", "mmgen"):
        same(whole[key], resumed[key], key)


def test_a_run_shows_logs_and_rebuilds_every_member(recipe, digits, tmp_path):
    run = tmp_path / "run"
    options = [recipe, "--trainer.max_steps=2", "--trainer.val_check_interval=2", "--model.members.motion.weight=2"]
    assert main(["fit", *QUICK, *options, "--trainer.logger=true", "--samples.count=3", f"--run={run}"]) == 0
    assert (run / "samples" / "image-masked-0000002.png").is_file()  # the motions have no tokenizer to be seen with
    with next((run / "logs" / "csv").glob("*/metrics.csv")).open() as file:
        logged = set(next(csv.reader(file)))
    assert {"train/image/masked", "train/image/loss", "train/motion/loss", "train/loss"} <= logged
    assert {"val/image/masked", "val/motion/ar", "val/motion/masked", "val/motion/loss", "val/loss"} <= logged
    assert main(["validate", f"--config={run / 'config.yaml'}", "--trainer.accelerator=cpu"]) == 0
    state = checkpoint(run)["state_dict"]
    for name, modes in {"image": ["masked"], "motion": ["ar", "masked"]}.items():
        loaded = load_generator(run / name)
        assert list(loaded.paradigm.modes()) == modes
        for key, value in loaded.generator.state_dict().items():
            assert torch.equal(value, state[f"members.{name}.generator.{key}"])
    assert main(["export", str(run / "image"), f"--out={tmp_path / 'image'}"]) == 0
    members = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["members"]
    folder = members["image"]["init_args"]["source"]["init_args"]["folder"]  # which an export does not name
    alone = [f"--config={tmp_path / 'image'}", f"--data.source.folder={folder}", "--trainer.max_steps=1"]
    assert load_generator(fit(tmp_path / "alone", *alone)).step == 1


def test_what_members_share_is_counted_once(data):
    module = joint(data)
    trainer = L.Trainer(**QUIET)
    trainer.datamodule = JointData(data)
    rows = list(parts(trainer, module))
    assert rows[0].name == "backbone"
    assert {"image.embedding", "motion.head"} <= {row.name for row in rows}
    assert sum(row.parameters for row in rows) == sum(each.numel() for each in module.parameters())
