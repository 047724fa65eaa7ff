"""What a modality adds to a page, and the page without it: a modality that brings nothing still has a decent page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.data.build import source_section
from mmgen.page import sections
from mmgen.page.chapter import Chapter
from mmgen.page.page import Page, Picture, Section, figure
from mmgen.page.runs import Run
from mmgen.page.wording import describe_tokens, in_letters, join_words, mode_title
from mmgen.store.results import METRICS, Figure, base_metric, commit, machine

MakeSection = Callable[[Chapter], Section | None]


@dataclass(frozen=True)
class Headline:
    """A figure that matters so much that it stands at the top.

    Args:
        metric: base name.
        label: what it says, in words; `{way}` is the column that it is from.
        worst: tell the worst of several, and not the best.
        write: the figure as text; by its metric's name by default.
    """

    metric: str
    label: str
    worst: bool = False
    write: Callable[[float], str] | None = None


@dataclass(frozen=True)
class PageParts:
    """What a modality adds.

    Args:
        sections: of its samples and reconstructions, in order; each is left out where it makes None.
        opening_picture: a picture beside the first sentences.
        headlines: figures at the top.
        plural: what samples are called.
        mask_layout: mask in use -> what it is drawn on; the example of each by default.
    """

    sections: Sequence[MakeSection] = (sections.sample_files,)
    opening_picture: Callable[[Chapter], Picture | None] = lambda chapter: None
    headlines: Sequence[Headline] = ()
    plural: str = "samples"
    mask_layout: Callable[[Mask], Layout] | None = None


def build_page(chapter: Chapter, parts: PageParts, title: str | None = None, lead: str | None = None) -> Page:
    """The page of runs of one modality.

    Args:
        chapter: the runs.
        parts: of their modality.
        title: of the page; what the runs are by default.
        lead: its first sentences, likewise.
    """
    common: list[MakeSection] = [
        sections.metrics,
        sections.training,
        lambda runs: sections.masks(runs, parts.mask_layout),
        sections.previews,
    ]
    made = [section for make in (*parts.sections, *common) if (section := make(chapter)) is not None]
    headlines = [pair for each in parts.headlines if (pair := _headline(chapter, each)) is not None]
    commands = list(dict.fromkeys(line for run in _in_order(chapter) for line in run.commands()))
    return Page(
        title or _title(chapter), lead or _lead(chapter, parts), parts.opening_picture(chapter), headlines,
        _facts(chapter), commands, made,
    )  # fmt: skip


def _in_order(chapter: Chapter) -> list[Run]:
    return [*chapter.tokenizers, *chapter.generators]


def _title(chapter: Chapter) -> str:
    return join_words([run.name for run in chapter.runs])


def _lead(chapter: Chapter, parts: PageParts) -> str:
    kinds = {"tokenizer": chapter.tokenizers, "generator": chapter.generators}
    named = [
        f"{'a' if len(runs) == 1 else in_letters(len(runs))} {kind}{'s' if len(runs) > 1 else ''}"
        for kind, runs in kinds.items()
        if runs
    ]
    modes = list(dict.fromkeys(mode for run in chapter.generators for mode in run.modes))
    lead = f"{join_words(named).capitalize()} of {parts.plural}"
    return f"{lead}: {join_words([mode_title(mode).lower() for mode in modes])}." if modes else f"{lead}."


def _headline(chapter: Chapter, wanted: Headline) -> tuple[str, str] | None:
    """The best figure of all runs, or the worst, with its label; None where it was not measured."""
    figures = [
        (each, chapter.column(run, each.mode).title)
        for run in chapter.runs
        for each in run.figures
        if base_metric(each.metric, each.extractor) == wanted.metric
    ]
    if not figures:
        return None
    higher = (METRICS[wanted.metric] != "lower") != wanted.worst

    def value(pair: tuple[Figure, str]) -> float:
        return pair[0].value

    best, way = max(figures, key=value) if higher else min(figures, key=value)
    text = figure(best.value, best.metric) if wanted.write is None else wanted.write(best.value)
    return text, wanted.label.format(way=way.lower())


def _facts(chapter: Chapter) -> dict[str, str]:
    """What each run is, its data, and where this was measured."""
    facts = {run.name: _describe(run) for run in _in_order(chapter)}
    data = dict.fromkeys(_data(run) for run in chapter.runs)
    facts["Data"] = join_words([each for each in data if each])
    machines = dict.fromkeys(each.machine for run in chapter.runs for each in run.figures) or {machine(): None}
    commits = dict.fromkeys(each.commit for run in chapter.runs for each in run.figures) or {commit(): None}
    facts |= {"Machine": "; ".join(machines), "Code": f"mmgen at commit {join_words(list(commits))}"}
    return {label: text for label, text in facts.items() if text}


def _describe(run: Run) -> str:
    steps = f"{run.parameters:,} parameters, {run.step:,} steps"
    rates = run.logged("train/tokens_per_second")
    speed = f" at {figure(round(rates[-1][1]))} tokens a second" if rates else ""
    if run.kind == "tokenizer":
        return f"Tokenizer, {steps}; {describe_tokens(run.spec)}"
    paradigm = str(run.config["model"]["init_args"]["paradigm"]["class_path"]).rpartition(".")[2]
    tokenizer = f" of {run.record['tokenizer_path']}" if run.record.get("tokenizer_path") else ""
    return f"{paradigm}, {steps}{speed}; {describe_tokens(run.spec)}{tokenizer}"


def _data(run: Run) -> str:
    """The source of a run's data, and where it is."""
    try:
        source = source_section(run.config)
    except UserError:
        return ""
    init_args = source.get("init_args") or {}
    name = str(source["class_path"]).rpartition(".")[2].removesuffix("Source")
    where = init_args.get("path") or init_args.get("folder") or init_args.get("root")
    return f"{name} ({where})" if where else name
