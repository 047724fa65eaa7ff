"""Samples reach every logger that takes media, by its own call; others are named once."""

import pytest

from mmgen.training import previews
from mmgen.training.previews import log_files


class Calls:
    """A logger's experiment, or a part of it."""

    def __init__(self):
        self.made = []


class WandbLike(Calls):
    """Lightning's WandbLogger: each call takes a list."""

    experiment = object()

    def log_image(self, key, images, step=None, **kwargs):
        self.made.append(("image", key, images, step))

    log_audio = log_image
    log_video = log_image


class Client(Calls):
    """MlflowClient."""

    def log_artifact(self, run_id, local_path, artifact_path=None):
        self.made.append((run_id, local_path, artifact_path))


class MLFlowLike:
    run_id = "7"

    def __init__(self):
        self.experiment = Client()


class CometExperiment(Calls):
    def log_image(self, image_data, name=None, step=None):
        self.made.append((image_data, step))

    def log_audio(self, audio_data, sample_rate=None, file_name=None, metadata=None, step=None):
        self.made.append((audio_data, step))

    def log_video(self, file, name=None, step=None):
        self.made.append((file, step))


class CometLike:
    def __init__(self):
        self.experiment = CometExperiment()


class Mute:
    experiment = object()


@pytest.fixture
def files(tmp_path):
    return [tmp_path / name for name in ("ar-0000002.png", "ar-0000002.gif", "ar-0000002-0.wav")]


def test_each_logger_gets_every_file_by_its_own_call(files):
    names = [str(file) for file in files]
    wandb, mlflow, comet = WandbLike(), MLFlowLike(), CometLike()
    for logger in (wandb, mlflow, comet):
        log_files(logger, "ar", files, 2)
    assert wandb.made == [("image", "samples/ar", [name], 2) for name in names]
    assert mlflow.experiment.made == [("7", name, "samples/ar") for name in names]
    assert comet.experiment.made == [(name, 2) for name in names]


def test_a_logger_that_takes_none_is_named_once(files, caplog, monkeypatch):
    monkeypatch.setattr(previews, "_reported", set())
    for step in (1, 2):
        log_files(Mute(), "ar", files, step)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["Mute takes no pictures or sounds"]
