"""Measured figures on disk: `results.json` of a recipe folder, which commands write and cards are rendered from.

A row says what was measured and how, so that anybody can measure it again. Two rows are of the same thing when they
agree in `IDENTITY`; measuring that thing anew replaces the row, whatever the number of samples, the seed, the training
budget or the machine. A folder thus holds one figure for each thing and way of measuring it, always the latest.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from mmgen.core.errors import UserError, nearest
from mmgen.core.json_file import read_json
from mmgen.media.folders import write_whole
from mmgen.store.figure_rows import require_row

RESULTS = "results.json"

Better = Literal["higher", "lower", "neither"]
"""Which way a metric is better."""

METRICS: dict[str, Better] = {
    "psnr_db": "higher", "psnr_db_jpeg": "higher", "psnr_db_webp": "higher", "ssim": "higher", "rfid": "lower",
    "rfd": "lower", "rfvd": "lower", "bits_per_image": "lower", "bits_per_frame": "lower",
    "bits_per_image_jpeg": "lower", "bits_per_image_webp": "lower", "kbps": "lower", "code_usage": "higher",
    "code_perplexity": "higher", "fid": "lower", "fd": "lower", "kid": "lower", "precision": "higher",
    "recall": "higher", "class_accuracy": "higher", "bits_per_dim": "lower", "held_out_loss": "lower",
    "held_out_loss_beside": "neither", "held_out_loss_change": "lower", "next_frame_gain_db": "higher",
    "action_gain_db": "higher", "fvd": "lower", "drift": "lower", "stoi": "higher", "pesq": "higher",
    "mel_distance": "lower", "si_sdr_db": "higher", "wer": "lower", "cer": "lower", "wer_codec": "neither",
    "wer_edited": "lower", "wer_floor": "neither", "speaker_similarity": "higher",
    "speaker_similarity_real": "neither", "dnsmos": "higher", "dnsmos_real": "neither", "mpjpe_mm": "lower",
    "root_mm": "lower", "label_accuracy": "higher", "label_accuracy_real": "neither", "fid_real": "neither",
    "diversity": "neither", "diversity_real": "neither", "multimodality": "neither", "multimodality_real": "neither",
    "r_precision_1": "higher", "r_precision_2": "higher", "r_precision_3": "higher", "r_precision_1_real": "neither",
    "r_precision_2_real": "neither", "r_precision_3_real": "neither", "matching_score": "lower",
    "matching_score_real": "neither", "foot_skate": "lower", "foot_skate_real": "neither", "jerk": "neither",
    "jerk_real": "neither", "inbetween_mm": "lower", "inbetween_linear_mm": "neither", "latency_ms": "lower",
    "streaming_error": "lower", "real_time_factor": "lower", "first_audio_ms": "lower", "edit_outside": "lower",
    "forward_passes": "lower", "tokens_per_forward": "higher", "seconds_per_sample": "lower",
    "seconds_per_second": "lower", "tokens_per_second": "higher", "peak_memory_mb": "lower",
}  # fmt: skip
"""Metrics in the order of cards, and which way is better. A figure of another name says so itself (`better`)."""

ON_FEATURES = (
    "rfid", "rfd", "rfvd", "fid_real", "fid", "fd", "kid", "precision", "recall", "class_accuracy", "fvd", "drift",
    "wer_codec", "wer_edited", "wer_floor", "wer", "cer", "speaker_similarity_real", "speaker_similarity",
    "label_accuracy_real", "label_accuracy", "diversity_real", "diversity", "multimodality_real", "multimodality",
    "r_precision_1_real", "r_precision_2_real", "r_precision_3_real", "r_precision_1", "r_precision_2", "r_precision_3",
    "matching_score_real", "matching_score",
)  # fmt: skip
"""Metrics that depend on a network that looks at the samples, or listens to them. Their full names end in its name:
`fid_digits_cnn`, `wer_whisper_tiny_en`. A name that begins with another stands before it.
"""

IDENTITY = ("metric", "data", "mode", "extractor", "steps", "settings", "training_seed", "checkpoint")
"""The fields that say what was measured. All others say how well, when and where."""


@dataclass(frozen=True)
class Figure:
    """One row of results.json.

    Args:
        metric: a name of `METRICS`; those `ON_FEATURES` end in their extractor, as `metric_name` writes it.
        value: finite.
        command: repeats the measurement.
        data: data set and split, such as `digits val`.
        samples: measured over so many.
        seed: of the sampling; None where nothing is drawn.
        steps: of the sampler; None where nothing is sampled, or the sampler itself decides how many it needs.
        seconds: that the command took.
        commit: short git hash of the code, or `unknown`.
        machine: processor, cores, torch version.
        date: UTC, ISO.
        mode: the way of sampling.
        extractor: the network whose features were compared.
        budget: what training had cost, such as `3000 steps x 128 samples`.
        settings: of the sampler, as far as they are not the default ones.
        protocol: how it was measured: of images `crop`, `resize`, how many (`n`), `seed`, `dtype`, and the `reference`
            that they were compared with (data, split, count, a hash of its pixels); of clips also the lists behind the
            figure, by `per_frame` or `per_window`, which the card draws.
        training_seed: `seed_everything` of the run, where it is not 0: a card may hold several trainings of a recipe.
        checkpoint: of the run: None for the last, or `best`, that of its lowest held-out loss.
        better: which way is better; None for a metric of `METRICS`.
    """

    metric: str
    value: float
    command: str
    data: str
    samples: int
    seed: int | None
    steps: int | None
    seconds: float
    commit: str
    machine: str
    date: str
    mode: str | None = None
    extractor: str | None = None
    budget: str | None = None
    settings: str | None = None
    protocol: dict[str, Any] | None = None
    training_seed: int | None = None
    checkpoint: str | None = None
    better: Better | None = None

    def __post_init__(self) -> None:
        base = self.base
        if base not in METRICS and self.better is None:
            raise ValueError(f"{base!r} is no known metric name{nearest(base, METRICS)}, and has no `better`")
        fits = base not in METRICS or (base in ON_FEATURES) == (self.extractor is not None)
        if not fits or self.metric != metric_name(base, self.extractor):
            raise ValueError(f"metric {self.metric!r} and extractor {self.extractor!r} do not fit: see metric_name")
        if not math.isfinite(self.value):
            raise ValueError(f"{self.metric} is {self.value}: a figure must be finite")

    @property
    def identity(self) -> tuple[Any, ...]:
        """What was measured."""
        return tuple(getattr(self, name) for name in IDENTITY)

    @property
    def base(self) -> str:
        """The metric without its extractor."""
        return base_metric(self.metric, self.extractor)

    @property
    def direction(self) -> Better:
        """Which way is better."""
        return self.better or METRICS[self.base]

    @property
    def order(self) -> tuple[int, str]:
        """Key by which cards and pages sort metrics."""
        names = list(METRICS)
        return names.index(self.base) if self.base in METRICS else len(names), self.metric

    def to_dict(self) -> dict[str, Any]:
        """The JSON row: fields with a default only where they hold something."""
        optional = {each.name for each in fields(self) if each.default is not MISSING}
        return {name: value for name, value in asdict(self).items() if value is not None or name not in optional}


def metric_name(base: str, extractor: str | None = None) -> str:
    """The full name: `fid` on `digits_cnn` is `fid_digits_cnn`."""
    return base if extractor is None else f"{base}_{extractor}"


def base_metric(metric: str, extractor: str | None) -> str:
    """The name without its extractor: inverse of `metric_name`."""
    return metric if extractor is None else metric.removesuffix(f"_{extractor}")


def measured(metric: str, value: float, *, device: str = "cpu", **how: Any) -> Figure:
    """A figure of here and now: commit, machine and date are filled in.

    Args:
        metric: base name; the extractor is appended if `how` names one.
        value: finite; rounded to six significant digits.
        device: that it ran on; a GPU is named in `machine`.
        how: the other fields of `Figure`.
    """
    how |= {"seconds": round(how["seconds"], 2), "commit": commit(), "machine": machine(device)}
    name, date = metric_name(metric, how.get("extractor")), datetime.now(UTC).date().isoformat()
    return Figure(name, float(f"{value:.6g}"), date=date, **how)


def write(card_folder: str | Path, figures: Iterable[Figure]) -> None:
    """Put figures into a folder's results.json, each in the place of the one that it replaces, else at the end. The
    file is complete at every moment.

    Raises:
        UserError: the folder is missing or may not be written to, or its results.json is damaged.
    """
    rows = {figure.identity: figure for figure in (*read(card_folder), *figures)}
    write_json(Path(card_folder) / RESULTS, [figure.to_dict() for figure in rows.values()])


def read(card_folder: str | Path) -> list[Figure]:
    """The figures of a folder; none where it has no results.json yet.

    Raises:
        UserError: the folder is missing, or its results.json is damaged or holds a metric that there is not.
    """
    folder = Path(card_folder)
    if not folder.is_dir():
        raise UserError(f"card folder {folder} does not exist; name the recipe's folder, such as experiments/digits_ar")
    if not (folder / RESULTS).exists():
        return []
    rows = read_json(folder / RESULTS)
    names = {field.name for field in fields(Figure)}
    try:
        if not isinstance(rows, list):
            raise ValueError("it is not a list")
        for row in rows:
            require_row(row)
            if unknown := set(row) - names:
                raise ValueError(f"unknown field {min(unknown)}{nearest(min(unknown), names)}")
        return [Figure(**row) for row in rows]
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{folder / RESULTS} has a wrong row: {error}; measure it again") from None


def write_json(file: Path, content: Any) -> None:
    """Write JSON as `write_text` does."""
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Replace a file at once, so that it is never half written. Raises UserError where it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.encode())
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from None


def commit() -> str:
    """Short hash of the checkout that this code runs from; `unknown` for an installed wheel."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # a wheel may lie inside somebody else's repository
        return git("rev-parse", "--short", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def machine(device: str = "cpu") -> str:
    """What the time and the last digits depend on: processor, cores, torch, and the GPU if that is the device."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [_processor(), f"{cores} core{'s' if cores > 1 else ''}", f"torch {version('torch').split('+')[0]}"]
    if not device.startswith("cpu"):
        import torch

        parts.insert(0, torch.cuda.get_device_name(device) if device.startswith("cuda") else device)
    return ", ".join(parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join((models or [platform.processor() or platform.machine()])[0].split())
