"""The figures of a demo in one file: what the commands wrote into results.json and record.json of its runs."""

from collections.abc import Sequence
from typing import Any

from mmgen.page.chapter import Chapter
from mmgen.page.runs import Run
from mmgen.page.sections import extractor_accuracies
from mmgen.page.wording import KINDS
from mmgen.store.results import Figure, base_metric, commit, machine

_TOKENIZERS = {"speech": "codecs", "motion": "tokenizers"}
"""What the tokenizers of a demo with several of them are called."""


def demo_metrics(runs: Sequence[Run], total_seconds: float) -> dict[str, Any]:
    """The content of metrics.json, of the runs of a demo and the seconds that all of it took."""
    generators, first = Chapter(runs).generators, Chapter(runs).generators[0]
    encoded = {_kind(run): _values(run.figures) for run in Chapter(runs).tokenizers}
    real = {_kind(run): _values([each for each in run.figures if each.mode is None]) for run in generators}
    judges = extractor_accuracies([each for run in runs for each in run.figures])
    several = _TOKENIZERS.get(first.modality)
    own: dict[str, Any] = {several: encoded} if several else {"reconstruction": next(iter(encoded.values()))}
    own["modes"] = {mode: figures for run in generators for mode, figures in _modes(run).items()}
    if judges:
        own["classifier"] = dict(zip(("name", "accuracy"), next(iter(judges.items()))))
    if any(real.values()):
        own["recordings" if first.modality == "speech" else "real"] = real
    return {
        "total_seconds": round(total_seconds, 1),
        "generator": {"steps": first.step, "parameters": first.parameters},
        **own,
        **_edits([folder.record for run in generators for folder in run.samples]),
        "machine": machine(),
        "commit": commit(),
    }


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
        values = {base_metric(each.metric, each.extractor): each.value for each in figures}
        extractor = next((each.extractor for each in figures if each.extractor), None)
        return values | {"samples": first.samples, "extractor": extractor} | about
    return values | about | ({"tokens": _kind(run)} if run.modality in _TOKENIZERS else {})


def _edits(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Words that were replaced in recordings, and gaps of motions that were filled."""
    edits = [
        {"from": each["text"], "to": each["to"], "heard": each.get("transcript")} for each in records if "to" in each
    ]
    names = ("inbetween_mm", "inbetween_linear_mm", "samples")
    gaps = {each["inpaint"]: {name: each[name] for name in names} for each in records if "inbetween_mm" in each}
    return ({"edits": edits} if edits else {}) | ({"inbetween": gaps} if gaps else {})
