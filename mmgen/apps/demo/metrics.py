"""The figures of a demo in one file: what the commands wrote into results.json and record.json of its runs."""

from collections.abc import Sequence
from typing import Any

from mmgen.page.runs import Run
from mmgen.page.wording import KINDS
from mmgen.store.results import Figure, base_metric, commit, machine


def demo_metrics(runs: Sequence[Run], total_seconds: float) -> dict[str, Any]:
    """The content of metrics.json.

    Args:
        runs: of the demo.
        total_seconds: that all of it took.
    """
    generators = [run for run in runs if run.kind == "generator"]
    tokenizers = [run for run in runs if run.kind == "tokenizer"]
    first = generators[0]
    kinds = {"speech": "codecs", "motion": "tokenizers"}
    several = kinds.get(first.modality)
    encoded = {_kind(run): _values(run.figures) for run in tokenizers}
    own: dict[str, Any] = {several: encoded} if several else {"reconstruction": next(iter(encoded.values()))}
    own |= {"modes": {mode: figures for run in generators for mode, figures in _modes(run).items()}}
    judges = {
        each.extractor: each.protocol["extractor_accuracy"]
        for run in runs
        for each in run.figures
        if each.extractor and each.protocol and "extractor_accuracy" in each.protocol
    }
    if judges:
        own["classifier"] = {"name": next(iter(judges)), "accuracy": next(iter(judges.values()))}
    real = {_kind(run): _values([each for each in run.figures if each.mode is None]) for run in generators}
    if any(real.values()):
        own["recordings" if first.modality == "speech" else "real"] = real
    folders = [folder for run in generators for folder in run.samples]
    own |= _edits([folder.record for folder in folders])
    return {
        "total_seconds": round(total_seconds, 1),
        "generator": {"steps": first.step, "parameters": first.parameters},
        **own,
        "machine": machine(),
        "commit": commit(),
    }


def _kind(run: Run) -> str:
    """What its tokens are."""
    return KINDS.get(run.spec.kind, run.spec.kind)


def _values(figures: Sequence[Figure]) -> dict[str, Any]:
    """By full metric name, with what they were measured over."""
    if not figures:
        return {}
    return {each.metric: each.value for each in figures} | {"samples": figures[0].samples}


def _modes(run: Run) -> dict[str, Any]:
    """Mode -> figures; where a mode was measured in several ways, such as by rollouts, each has its name."""
    modes: dict[str, Any] = {}
    for mode in dict.fromkeys(each.mode for each in run.figures if each.mode is not None):
        figures = [each for each in run.figures if each.mode == mode]
        ways: dict[str, list[Figure]] = {}
        for each in figures:
            ways.setdefault(each.command, []).append(each)
        parts = {_way(command): _about(each, run) for command, each in ways.items()}
        modes[mode] = parts if run.modality == "video" else {k: v for part in parts.values() for k, v in part.items()}
    return modes


def _way(command: str) -> str:
    return "rollout" if "--rollout" in command else "prediction"


def _about(figures: list[Figure], run: Run) -> dict[str, Any]:
    first = figures[0]
    about: dict[str, Any] = {"steps": first.steps, "command": first.command, "trained_steps": run.step}
    if run.modality in ("speech", "motion"):
        about["tokens"] = _kind(run)
    extractor = next((each.extractor for each in figures if each.extractor), None)
    if run.modality == "image":  # one network looks at all of them
        plain = {base_metric(each.metric, each.extractor): each.value for each in figures}
        return plain | {"samples": first.samples, "extractor": extractor} | about
    return _values(figures) | about


def _edits(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Words that were replaced in recordings, and gaps of motions that were filled."""
    edits = [
        {"from": each["text"], "to": each["to"], "heard": each.get("transcript")} for each in records if "to" in each
    ]
    names = ("inbetween_mm", "inbetween_linear_mm", "samples")
    gaps = {each["inpaint"]: {name: each[name] for name in names} for each in records if "inbetween_mm" in each}
    return ({"edits": edits} if edits else {}) | ({"inbetween": gaps} if gaps else {})
