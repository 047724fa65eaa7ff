"""The page of the app: which controls there are, and what happens when they are used."""

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio
from markupsafe import escape

from mmgen.apps.serve.drawing import mistake, note, render_preview
from mmgen.apps.serve.runs import LastLoaded, RunList, find_runs
from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.modality import modality_of
from mmgen.page.wording import mode_title
from mmgen.sampling.request import EACH_IN_TURN, LARGEST_SEED, MOST_SAMPLES, MOST_TEXT, SamplingRequest
from mmgen.sampling.samples import require_tokenizer, text_condition
from mmgen.store.store import Loaded

_HERE = Path(__file__).parent
EVERY = 0.1  # seconds between two previews, at least
_QUEUE = 8  # clicks that wait at most
_ONE = "model"  # all that uses the loaded run takes turns
_PAGE_WORDS = {"--mode": "mode", "--cfg": "guidance", "--num": "samples", "--class": "class"}

Changes = list[Any]


class Page:
    """What the events of the page do.

    Args:
        folder: with the runs.
        last: loads them.
    """

    def __init__(self, folder: Path, last: LastLoaded) -> None:
        self.folder, self.last, self.listing = folder, last, RunList()

    def runs(self) -> Changes:
        """[run, what was left out]: looked for anew."""
        try:
            listing = self.listing = find_runs(self.folder)
        except UserError as error:
            return [gradio.update(choices=[], value=None), mistake(str(error))]
        skipped = "".join(f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in listing.skipped.items())
        names = list(listing.paths)
        reasons = f"<ul>{skipped}</ul>" if skipped else note("Nothing was left out.")
        return [gradio.update(choices=names, value=names[0] if names else None), reasons]

    def choose(self, name: str | None) -> Changes:
        """[about, mode, class, text, samples, frames, guidance, aloud, results] of a run that was chosen."""
        hidden = gradio.update(visible=False)
        nothing = [gradio.update(choices=[], value=None, visible=False), *[hidden] * 6]
        if not name:
            return [note(f"No run of a generator lies in {self.folder}: mmgen fit makes one."), *nothing, ""]
        try:
            loaded = self.last.get(self.listing.path(name))
            modality = modality_of(loaded.spec.modality)
            require_tokenizer(loaded)
        except UserError as error:
            return ["", *nothing, mistake(_in_page_words(error))]
        modes = list(loaded.paradigm.modes())
        names, conditions = loaded.generator.names("class"), loaded.generator.conditions
        guided = bool(len(conditions)) and conditions.trains_without(tuple(conditions))
        vocabulary = loaded.generator.vocabulary(text_condition(loaded) or "")
        alphabet = vocabulary.alphabet.replace(" ", "␣") if isinstance(vocabulary, Text) else ""
        letters = f"Letters it knows: {escape(alphabet)}" if alphabet else ""
        return [
            _about(loaded),
            gradio.update(choices=[(mode_title(mode), mode) for mode in modes], value=modes[0], visible=True),
            gradio.update(
                choices=[EACH_IN_TURN, *names, "none"], value=EACH_IN_TURN, visible=bool(names),
                label=modality.class_noun.capitalize(),
            ),
            gradio.update(visible=vocabulary is not None, info=letters),
            gradio.update(value=modality.app.count, visible=True),
            gradio.update(visible=modality.app.frames, value=0),
            gradio.update(visible=guided, value=1.0),
            gradio.update(visible=modality.app.sound),
            note("Nothing is made yet."),
        ]  # fmt: skip

    def sample(self, name: str | None, *controls: Any) -> Iterator[str]:
        """The results, again and again while they are made; a mistake as one line."""
        try:
            loaded = self.last.get(self.listing.path(name))
            modality = modality_of(loaded.spec.modality)
            for preview in modality.stream(loaded, _request(loaded, controls), EVERY):
                yield render_preview(preview)
        except UserError as error:
            yield mistake(_in_page_words(error))
        except Exception as error:  # a mistake of ours: its trace belongs to the terminal
            traceback.print_exc()
            yield mistake(
                f"this went wrong here, by no mistake of yours ({type(error).__name__}); the terminal says more"
            )


def build(folder: Path, last: LastLoaded) -> gradio.Blocks:
    """The whole page, for `mmgen.apps.serve.app.launch`."""
    page = Page(folder, last)
    with gradio.Blocks(title="mmgen", analytics_enabled=False, fill_width=True) as blocks:
        gradio.HTML(
            f"<h1>mmgen</h1><p>Samples of the runs in {escape(folder)}, while they are made.</p>", elem_id="head"
        )
        with gradio.Row():
            with gradio.Column(scale=2, min_width=320):
                run = gradio.Dropdown([], label="Run", elem_id="run", interactive=True)
                about = gradio.HTML(elem_id="about")
                mode = gradio.Radio([], label="Mode", elem_id="mode", visible=False)
                text = gradio.Textbox(
                    label="Text", elem_id="text", visible=False, max_length=MOST_TEXT, lines=2, max_lines=4
                )
                class_ = gradio.Dropdown([], label="Class", elem_id="class", visible=False, interactive=True)
                dice = gradio.Button("another", size="sm", render=False)
                with gradio.Row(elem_id="numbers"):
                    count = gradio.Slider(1, MOST_SAMPLES, 1, step=1, label="Samples", elem_id="count", min_width=150)
                    seed = gradio.Number(0, label="Seed", elem_id="seed", precision=0, buttons=[dice], min_width=120)
                with gradio.Row():
                    sample = gradio.Button("Sample", variant="primary", elem_id="sample")
                    stop = gradio.Button("Stop", elem_id="stop")
                aloud = gradio.Checkbox(
                    True, label="Play the first one while it is made", elem_id="aloud", visible=False, interactive=True
                )
                with gradio.Accordion("More", open=False, elem_id="more"):
                    steps = gradio.Number(0, label="Steps", elem_id="steps", precision=0, info="0: the mode's own.")
                    guidance = gradio.Slider(0, 10, 1, step=0.25, label="Guidance", elem_id="guidance", info="1: none.")
                    temperature = gradio.Slider(0, 2, 1, step=0.05, label="Temperature", elem_id="temperature")
                    frames = gradio.Number(
                        0, label="Frames", elem_id="frames", precision=0, info="0: as in training.", visible=False
                    )
                with gradio.Accordion("Folders that were left out", open=False):
                    left_out = gradio.HTML(elem_id="left-out")
                    again = gradio.Button("Look again", size="sm", elem_id="again")
            with gradio.Column(scale=5, min_width=360):
                results = gradio.HTML(elem_id="results", js_on_load=(_HERE / "page.js").read_text())
        controls = [mode, class_, text, count, seed, steps, guidance, temperature, frames]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
        blocks.load(page.runs, outputs=[run, left_out], **quiet)
        again.click(page.runs, outputs=[run, left_out], **quiet)
        dice.click(None, outputs=seed, js=f"() => Math.floor(Math.random() * {LARGEST_SEED})")
        chosen = [about, mode, class_, text, count, frames, guidance, aloud, results]
        run.change(page.choose, run, chosen, concurrency_id=_ONE, concurrency_limit=1, **quiet)
        making = sample.click(page.sample, [run, *controls], results, concurrency_id=_ONE, concurrency_limit=1, **quiet)
        stop.click(None, cancels=[making])
    blocks.queue(max_size=_QUEUE, default_concurrency_limit=1)
    return blocks


def _request(loaded: Loaded, controls: Sequence[Any]) -> SamplingRequest:
    """What the controls say; those that the page hides for this run say nothing."""
    mode, class_, text, count, seed, steps, guidance, temperature, frames = controls
    text = text if text and text_condition(loaded) is not None else ""
    frames = (frames or None) if modality_of(loaded.spec.modality).app.frames else None
    return SamplingRequest(mode, class_, text, count, seed, steps or None, guidance, temperature, frames)


def _about(loaded: Loaded) -> str:
    """What a run is, in a line."""
    spec = loaded.spec
    size = " × ".join(str(n) for n in spec.grid if n > 1) or "1"
    return note(
        f"{modality_of(loaded.spec.modality).plural} · {size} tokens, {spec.amount} · trained for {loaded.step:,} steps"
    )


def _in_page_words(error: UserError) -> str:
    """A message with the page's names for what are options on a command line."""
    message = str(error)
    for option, name in _PAGE_WORDS.items():
        message = message.replace(option, name)
    return message


def theme_options() -> dict[str, Any]:
    """How the page looks, with the fonts of the system: as `launch` of gradio takes it."""
    sans = [
        "ui-sans-serif",
        "system-ui",
        "-apple-system",
        "Segoe UI",
        "Roboto",
        "Noto Sans",
        "Liberation Sans",
        "Arial",
    ]
    mono = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
    theme = gradio.themes.Base(
        primary_hue="blue", neutral_hue="stone", font=[*sans, "sans-serif"], font_mono=list(mono)
    )
    return {"theme": theme, "css_paths": _HERE / "page.css"}
