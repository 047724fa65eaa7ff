"""What a modality adds to a page, and the page without it: a modality that adds nothing has a table of its files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.data.build import source_section
from mmgen.page import sections
from mmgen.page.chapter import Chapter
from mmgen.page.page import Page, Picture, Section
from mmgen.page.runs import Run
from mmgen.page.wording import describe_tokens, figure, in_letters, join_words, mode_title
from mmgen.store.results import commit, machine

MakeSection = Callable[[Chapter], Section | None]


@dataclass(frozen=True)
class Headline:
    """A figure that stands at the top of the page: the best of a metric, by its base name, or the `worst`. In its label
    `{way}` is the column that it is from; `form` is its text, by default by the metric's name.
    """

    metric: str
    label: str
    worst: bool = False
    form: str = ""


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
    """The page of runs of one modality, with the title and lead that describe the runs by default."""
    made = [make(chapter) for make in (*parts.sections, sections.metrics, sections.training)]
    made += [sections.masks(chapter, parts.mask_layout), sections.previews(chapter)]
    headlines = [_headline(chapter, each) for each in parts.headlines]
    runs = [*chapter.tokenizers, *chapter.generators]
    return Page(
        title or join_words([run.name for run in chapter.runs]), lead or _lead(chapter, parts.plural),
        parts.opening_picture(chapter), [pair for pair in headlines if pair is not None], _facts(runs),
        list(dict.fromkeys(line for run in runs for line in run.commands())),
        [section for section in made if section is not None],
    )  # fmt: skip


def _lead(chapter: Chapter, plural: str) -> str:
    kinds = {"tokenizer": chapter.tokenizers, "generator": chapter.generators}
    named = [
        f"a {kind}" if len(runs) == 1 else f"{in_letters(len(runs))} {kind}s" for kind, runs in kinds.items() if runs
    ]
    modes = list(dict.fromkeys(mode for run in chapter.generators for mode in run.modes))
    lead = f"{join_words(named).capitalize()} of {plural}"
    return f"{lead}: {join_words([mode_title(mode).lower() for mode in modes])}." if modes else f"{lead}."


def _headline(chapter: Chapter, headline: Headline) -> tuple[str, str] | None:
    """The best figure of all runs, or the worst, with its label; None where it was not measured."""
    figures = chapter.figures(headline.metric)
    if not figures:
        return None
    is_higher = (figures[0][1].direction != "lower") != headline.worst
    column, best = (max if is_higher else min)(figures, key=lambda pair: pair[1].value)
    text = headline.form.format(best.value).replace("-", "−") or figure(best.value, best.metric)
    return text, headline.label.format(way=column.title.lower())


def _facts(runs: Sequence[Run]) -> dict[str, str]:
    """What each run is, its data, and where this was measured."""
    figures = [each for run in runs for each in run.figures]
    facts = {run.name: _describe(run) for run in runs}
    facts["Data"] = join_words([each for each in dict.fromkeys(map(_data, runs)) if each])
    facts["Machine"] = "; ".join(dict.fromkeys(each.machine for each in figures) or [machine()])
    commits = list(dict.fromkeys(each.commit for each in figures)) or [commit()]
    facts["Code"] = f"mmgen at commit {join_words(commits)}"
    return {label: text for label, text in facts.items() if text}


def _describe(run: Run) -> str:
    steps, tokens = f"{run.parameters:,} parameters, {run.step:,} steps", describe_tokens(run.spec)
    if run.kind == "tokenizer":
        return f"Tokenizer, {steps}; {tokens}"
    rates = run.logged("train/tokens_per_second")
    speed = f" at {figure(round(rates[-1][1]))} tokens a second" if rates else ""
    paradigm = str(run.config["model"]["init_args"]["paradigm"]["class_path"]).rpartition(".")[2]
    tokenizer = f" of {run.record['tokenizer_path']}" if run.record.get("tokenizer_path") else ""
    return f"{paradigm}, {steps}{speed}; {tokens}{tokenizer}"


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
