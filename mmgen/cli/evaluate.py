"""`mmgen evaluate`: the figures of a run."""

import inspect
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mmgen.data.sources import Source
    from mmgen.results import Figure
    from mmgen.store import Saved

Rows = list[tuple[dict[str, Any], dict[str, float]]]
"""Pairs of what some figures have in common (fields of `mmgen.results.Figure`) and their values by base name."""

SAMPLING = (
    "mode", "num", "seed", "steps", "cfg", "cfg_schedule", "temperature", "top_k", "top_p",
    "order", "noise", "select", "threshold", "entropy_bound",
)  # fmt: skip
"""The options that concern generators alone."""


def run(
    path: str,
    mode: str | None = None,
    num: int = 1000,
    seed: int = 0,
    steps: int | None = None,
    cfg: float = 1.0,
    cfg_schedule: Literal["constant", "linear"] = "constant",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    order: Literal["confidence", "margin", "entropy", "random"] = "confidence",
    noise: float = 4.5,
    select: Literal["count", "threshold", "entropy_bound"] = "count",
    threshold: float = 0.9,
    entropy_bound: float = 0.5,
    batch: int = 100,
    data: str | None = None,
    extractor: str = "digits_cnn",
    card: str | None = None,
    out: str | None = None,
    device: str = "auto",
) -> None:
    """Measure a tokenizer on held-out samples, or a generator's samples, all classes in turn, against held-out ones.

    Args:
        path: run folder or export of a tokenizer or a generator.
        mode: way of sampling; by default all that the checkpoint was trained for, one after the other.
        num: how many samples to draw in each mode.
        seed: sample i depends on the seed and on i, and on nothing else.
        steps: network steps: per image (masked) or per block (block); one a token in ar.
        cfg: guidance scale s in u + s (c - u): 1 is the plain conditional model, 0 the unconditional one.
        cfg_schedule: constant, or linear from 1 up to the scale over the steps.
        temperature: of the distribution that tokens are drawn from.
        top_k: draw from the k likeliest codes only.
        top_p: draw from the likeliest codes of that total probability only.
        order: which open tokens come first.
        noise: Gumbel noise on that order, falling to 0 over the steps.
        select: how many tokens a step: a count by the schedule, all above a confidence, or all within an entropy.
        threshold: confidence that a token needs, for `select: threshold`.
        entropy_bound: nats that the tokens of one step may hold together, for `select: entropy_bound`.
        batch: samples at a time; changes no figure but the time.
        data: `digits`, a YAML file with a `data` section, or a run; by default what the run was trained on.
        extractor: looks at the samples: digits_cnn (trained on first use, kept in runs/classifier-digits) or pixels.
        card: recipe folder whose results.json takes the figures, and whose README.md is rendered again.
        out: JSON file for the figures, made and never written over.
        device: cpu, cuda, or auto.
    """
    arguments = dict(locals())
    started = time.perf_counter()

    from mmgen.cli.progress import command_line
    from mmgen.data.build import build_source, open_source
    from mmgen.errors import UserError
    from mmgen.evaluation.card import update_card, words
    from mmgen.results import measured, read, write, write_json
    from mmgen.sampling import pick_device
    from mmgen.store import Saved

    saved = Saved.read(path)
    source = build_source(saved.config) if data is None else open_source(data)
    on = pick_device(device)
    if batch < 1:
        raise UserError(f"--batch must be at least 1, got {batch}")
    if card is not None:
        read(card)  # what is wrong with the card is told before the work, not after it
        words(Path(card))
        _require_writable(Path(card), f"card folder {card}")
    if out is not None and Path(out).exists():
        raise UserError(f"--out {out} exists, and nothing is overwritten; choose another")
    if out is not None:
        _require_writable(Path(out).absolute().parent, f"the folder of --out {out}")

    measure = _tokenizer_rows if saved.kind == "tokenizer" else _generator_rows
    rows = measure(saved, source, arguments, str(on))
    if unbounded := [name for _, values in rows for name, value in values.items() if not math.isfinite(value)]:
        raise UserError(f"{path}: {unbounded[0]} has no finite value on this data, so there is no figure to record")
    how: dict[str, Any] = {
        "command": command_line("evaluate", run, arguments),
        "data": _data_name(source),
        "seconds": time.perf_counter() - started,
        "budget": _budget(saved),
        "device": str(on),
    }
    figures = [measured(metric, value, **row, **how) for row, values in rows for metric, value in values.items()]
    _print(figures)
    if out is not None:
        write_json(Path(out), [figure.to_dict() for figure in figures])
    if card is not None:
        write(card, figures)
        update_card(Path(card))
        print(f"written to {card}")


def _require_writable(folder: Path, what: str) -> None:
    from mmgen.errors import UserError

    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{what} {'may not be written to' if folder.is_dir() else 'does not exist'}; choose another")


def _tokenizer_rows(saved: "Saved", source: "Source", arguments: dict[str, Any], device: str) -> Rows:
    from mmgen.cli.progress import progress_bar
    from mmgen.errors import UserError
    from mmgen.evaluation.extractors import get_extractor
    from mmgen.evaluation.measure import check_shapes, measure_tokenizer
    from mmgen.store import load_tokenizer

    given = [name for name in SAMPLING if arguments[name] != inspect.signature(run).parameters[name].default]
    if given:
        raise UserError(f"--{given[0]} is for generators, and {saved.path} is a tokenizer; leave it out")
    tokenizer = load_tokenizer(saved.path).to(device)
    check_shapes(tokenizer, source)
    extractor = get_extractor(arguments["extractor"], source.sample_shape)
    samples = source.samples("val")
    with progress_bar("reconstructing", len(samples)) as progress:
        report = measure_tokenizer(tokenizer, samples, extractor, arguments["batch"], progress)
    return _rows(report.figures, extractor.name, {"samples": len(samples), "seed": None, "steps": None})


def _generator_rows(saved: "Saved", source: "Source", arguments: dict[str, Any], device: str) -> Rows:
    from mmgen.cli.progress import progress_bar
    from mmgen.evaluation.extractors import Judge, get_extractor
    from mmgen.evaluation.measure import check_mode, check_shapes, measure_mode, real_features
    from mmgen.paradigms import Decoding, Guidance, SampleOptions
    from mmgen.sampling import require_tokenizer
    from mmgen.store import load_generator

    mode, num, seed, batch = (arguments[name] for name in ("mode", "num", "seed", "batch"))
    rules = ("temperature", "top_k", "top_p", "order", "noise", "select", "threshold", "entropy_bound")
    decoding = Decoding(**{name: arguments[name] for name in rules})
    options = SampleOptions(arguments["steps"], Guidance(arguments["cfg"], arguments["cfg_schedule"]), decoding)
    loaded = load_generator(saved.path).to(device)
    modes = list(loaded.paradigm.modes()) if mode is None else [mode]
    for each in modes:
        check_mode(loaded, each, num, options, batch)
    check_shapes(require_tokenizer(loaded), source)
    extractor = get_extractor(arguments["extractor"], source.sample_shape)
    if isinstance(extractor, Judge):
        print(f"judge: {extractor.name}, right about {extractor.accuracy:.1%} of held-out real samples")
    real = real_features(extractor, source.samples("val"), batch)
    rows: Rows = []
    for each in modes:
        with progress_bar(f"sampling: {each}", num) as progress:
            report = measure_mode(loaded, each, real, extractor, num, options, seed, batch, progress)
        steps = report.sampled.steps if decoding.select == "count" else None
        rows += _rows(
            report.figures,
            extractor.name,
            {"samples": num, "seed": seed, "steps": steps, "mode": each, "settings": _settings(arguments)},
        )
    return rows


def _rows(figures: dict[str, float], extractor: str, common: dict[str, Any]) -> Rows:
    """Figures by full name, apart by whether an extractor made them."""
    from mmgen.results import base_metric

    looked = {base_metric(name, extractor): value for name, value in figures.items() if name.endswith(f"_{extractor}")}
    plain = {name: value for name, value in figures.items() if not name.endswith(f"_{extractor}")}
    return [(common | {"extractor": extractor}, looked), (common, plain)]


def _settings(arguments: dict[str, Any]) -> str | None:
    """The sampler's options that are not the default ones; steps have their own field."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(run).parameters.items()}
    changed = [f"{name} {arguments[name]}" for name in SAMPLING[4:] if arguments[name] != defaults[name]]
    return ", ".join(changed) or None


def _data_name(source: "Source") -> str:
    """`digits val`, with what differs from the default data."""
    about = source.describe()
    changed = [f" {name}={value}" for name, value in about.get("init_args", {}).items() if value is not None]
    return f"{about['class_path'].rsplit('.', 1)[-1].lower()}{''.join(changed)} val"


def _budget(saved: "Saved") -> str:
    size = ((saved.config.get("data") or {}).get("init_args") or {}).get("global_batch_size")
    return f"{saved.step:,} steps" + (f" x {size} samples" if isinstance(size, int) else "")


def _print(figures: "list[Figure]") -> None:
    """A line for each metric, a column for each mode."""
    from mmgen.evaluation.card import number

    modes = list(dict.fromkeys(figure.mode for figure in figures))
    values = {(figure.metric, figure.mode): number(figure.value) for figure in figures}
    metrics = list(dict.fromkeys(figure.metric for figure in figures))
    width = max(map(len, metrics))
    if modes != [None]:
        print(" " * width + "".join(f"{mode:>12}" for mode in modes))
    for metric in metrics:
        print(f"{metric:<{width}}" + "".join(f"{values[metric, mode]:>12}" for mode in modes))
