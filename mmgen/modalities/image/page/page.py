"""The page of an image run, a function a section: a new section is one function more, in `SECTIONS`."""

from mmgen.modalities.image.page import pictures
from mmgen.modalities.image.page.drawing import order_map
from mmgen.modalities.image.page.story import ImageStory, Mode
from mmgen.page import sections
from mmgen.page.film import Clock, Reel
from mmgen.page.page import Page, Section, duration, figure, fill
from mmgen.page.sections import metric_row
from mmgen.page.wording import described, listed, title, word
from mmgen.store.results import metric_name

SECONDS_A_PASS, SECONDS_AT_REST = 0.13, 2.2


def image_page(story: ImageStory) -> Page:
    """The whole page."""
    ways = f"{word(len(story.modes))} way{'s' if len(story.modes) != 1 else ''}"
    made = story.reconstruction
    figures = [
        (f"{made.psnr_db:.1f} dB", "PSNR of held-out reconstructions"),
        (f"{made.bits_per_image:,.0f} bits", "an image, as tokens"),
        (f"{100 * story.judge_accuracy:.1f} %", "held-out accuracy of the judge"),
        (duration(story.total_seconds), "from nothing to this page"),
    ]
    accuracies = [on_judge(mode, "class_accuracy", story) for mode in story.modes]
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    if known:
        figures.insert(2, (f"{100 * min(known):.1f} %", "of samples right, in the weakest mode"))
    lead = (
        "A tokenizer and one transformer, trained from scratch on handwritten digits. The same weights then generate in"
        f" {ways}: {listed([title(mode.name).lower() for mode in story.modes])}."
    )
    made_of = [section for make in SECTIONS if (section := make(story)) is not None]
    head = f"One checkpoint, {ways} to generate"
    return Page(head, lead, pictures.hero(story), figures, story.facts, story.commands, made_of, "mmgen demo")


def reconstruction(story: ImageStory) -> Section:
    """Real above reconstructed."""
    made = story.reconstruction
    body = fill(
        "image/reconstruction.html",
        pairs=pictures.pairs(made),
        bits=made.bits_per_image,
        tokens=made.tokens,
        psnr=f"{made.psnr_db:.2f}",
        samples=f"{made.samples:,}",
        line=made.command,
    )
    return Section("tokenizer", "Real and reconstructed", body)


def samples(story: ImageStory) -> Section:
    """A grid a mode, by class."""
    shown = []
    for mode in story.modes:
        accuracy, fid = on_judge(mode, "class_accuracy", story), on_judge(mode, "fid", story)
        looks = {
            "grid": pictures.sample_grid(mode, story.class_names),
            "class_accuracy": "–" if accuracy is None else figure(accuracy, "class_accuracy"),
            "fid": "–" if fid is None else figure(fid),
        }
        costs = {name: getattr(mode, name) for name in ("steps", "forward_passes", "seconds_per_sample", "command")}
        shown.append(described(mode.name) | looks | costs)
    body = fill(
        "image/samples.html",
        modes=shown,
        classes=story.class_names,
        count=len(story.modes[0].images),
        words=word(len(shown)),
        any_judged=any(mode.judged is not None for mode in story.modes),
        judge=story.judge,
        samples=f"{story.modes[0].samples:,}",
    )
    return Section("samples", "Samples", body)


def decoding(story: ImageStory) -> Section:
    """The films, on one clock."""
    longest = max(mode.film.passes[-1] for mode in story.modes)
    clock = Clock("pass", 0, longest, SECONDS_A_PASS, SECONDS_AT_REST, "Calls of the network")
    shown = []
    for mode in story.modes:
        film = pictures.thinned(mode.film)
        sample = min(3, film.images.shape[1] - 1)
        told = [f"pass {number}" for number in film.passes[:-1]] + ["finished"]
        reel = Reel(pictures.film_strip(film, mode.name), film.passes, told, f"{film.passes[-1]} passes")
        order, stills = order_map(mode.film, sample, title(mode.name)), pictures.stills(film, sample, mode.name)
        shown.append(described(mode.name) | {"reel": reel, "order": order, "stills": stills})
    body = fill("image/decoding.html", modes=shown, clock=clock)
    return Section("decoding", "How they come about", body)


def completion(story: ImageStory) -> Section | None:
    """Halves of real digits, filled in."""
    if not story.completions:
        return None
    shown = []
    for each in story.completions:
        modes = [
            described(name) | {"filled": pictures.completed(each, name), "command": each.commands[name]}
            for name in each.filled
        ]
        original, kept = pictures.given(each)
        note = f"The model was {'' if each.told else 'not '}told that it is a {each.name}."
        share = round(pictures.kept_share(each), 2)
        shown.append({"original": original, "kept": kept, "share": share, "modes": modes, "note": note})
    return Section("completion", "Half a digit, completed", fill("image/completion.html", completions=shown))


def metrics(story: ImageStory) -> Section:
    """All figures of all modes."""
    names = list(dict.fromkeys(name for mode in story.modes for name in mode.measured))
    rows = [metric_row(name, [mode.measured.get(name) for mode in story.modes]) for name in names]
    rows.append(metric_row("steps", [mode.steps for mode in story.modes]))
    shown = [described(mode.name) | {"measure_command": mode.measure_command} for mode in story.modes]
    accuracy = figure(story.judge_accuracy, "accuracy")
    body = fill("image/metrics.html", modes=shown, rows=rows, judge=story.judge, accuracy=accuracy)
    return Section("metrics", "Metrics", body)


def training(story: ImageStory) -> Section | None:
    """The curves of the runs."""
    return sections.training(story.curves)


def masks(story: ImageStory) -> Section | None:
    """The masks that the modes train and sample under, and the rest."""
    return sections.masks(story.masks)


SECTIONS = [reconstruction, samples, decoding, completion, metrics, training, masks]


def on_judge(mode: Mode, metric: str, story: ImageStory) -> float | None:
    """A figure on the judge's features."""
    return mode.measured.get(metric_name(metric, story.judge))
