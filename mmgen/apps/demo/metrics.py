"""The figures of a demo in one file: what the commands wrote into results.json and record.json of its runs."""

from collections.abc import Sequence
from typing import Any

from mmgen.page.chapter import Chapter
from mmgen.page.runs import Run
from mmgen.page.sections import extractor_accuracies
from mmgen.page.wording import KINDS
from mmgen.store.results import Figure, commit, machine

_TOKENIZERS = {"speech": "codecs", "motion": "tokenizers"}
"""What the tokenizers of a demo with several of them are called."""


def demo_metrics(runs: Sequence[Run], total_seconds: float) -> dict[str, Any]:
    """The content of metrics.json, of the runs of a demo and the seconds that all of it took."""
    generators, tokenizers = Chapter(runs).generators, Chapter(runs).tokenizers
    first, records = generators[0], [folder.record for run in generators for folder in run.samples]
    content: dict[str, Any] = {"total_seconds": round(total_seconds, 1)}
    content["generator"] = {"steps": first.step, "parameters": first.parameters}
    encoded = {_kind(run): _values(run.figures) for run in tokenizers}
    several = _TOKENIZERS.get(first.modality)
    content |= {several: encoded} if several else {"reconstruction": next(iter(encoded.values()))}
    content["modes"] = {mode: figures for run in generators for mode, figures in _modes(run).items()}
    for name, accuracy in extractor_accuracies([each for run in runs for each in run.figures]).items():
        content.setdefault("classifier", {"name": name, "accuracy": accuracy})
    real = {_kind(run): _values([each for each in run.figures if each.mode is None]) for run in generators}
    if any(real.values()):
        content["recordings" if first.modality == "speech" else "real"] = real
    if edits := [(each["text"], each["to"], each.get("transcript")) for each in records if "to" in each]:
        content["edits"] = [dict(zip(("from", "to", "heard"), edit)) for edit in edits]
    if gaps := [each for each in records if "inbetween_mm" in each]:
        names = ("inbetween_mm", "inbetween_linear_mm", "samples")
        content["inbetween"] = {each["inpaint"]: {name: each[name] for name in names} for each in gaps}
    return content | {"machine": machine(), "commit": commit()}


def _kind(run: Run) -> str:
    return KINDS.get(run.spec.kind, run.spec.kind)


def _values(figures: Sequence[Figure]) -> dict[str, Any]:
    """By full metric name, with what they were measured over."""
    return {each.metric: each.value for each in figures} | ({"samples": figures[0].samples} if figures else {})


def _modes(run: Run) -> dict[str, Any]:
    """Mode -> figures; of clips those of predictions and of rollouts apart."""
    commands: dict[tuple[str, str], list[Figure]] = {}
    for each in run.figures:
        if each.mode is not None:
            commands.setdefault((each.mode, each.command), []).append(each)
    modes: dict[str, Any] = {}
    for (mode, command), figures in commands.items():
        measured = _measured(figures, run)
        if run.modality == "video":
            measured = {"rollout" if "--rollout" in command else "prediction": measured}
        modes.setdefault(mode, {}).update(measured)
    return modes


def _measured(figures: list[Figure], run: Run) -> dict[str, Any]:
    """The figures of one command."""
    first = figures[0]
    values = _values(figures)
    about: dict[str, Any] = {"steps": first.steps, "command": first.command, "trained_steps": run.step}
    if run.modality == "image":  # one network looks at all of them
        values = {each.base: each.value for each in figures}
        extractor = next((each.extractor for each in figures if each.extractor), None)
        return values | {"samples": first.samples, "extractor": extractor} | about
    return values | about | ({"tokens": _kind(run)} if run.modality in _TOKENIZERS else {})
