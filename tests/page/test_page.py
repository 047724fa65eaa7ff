import html
import re

from mmgen.page.page import parts, unbroken_words
from mmgen.page.sections import metric_row
from mmgen.page.wording import duration, figure, signed
from mmgen.store.results import Figure, metric_name


def measured(metric: str, value: float, extractor: str | None = None) -> Figure:
    how = ("mmgen evaluate", "digits val", 10, 0, 1, 1.0, "0", "cpu", "2026-01-01", "ar", extractor)
    return Figure(metric_name(metric, extractor), value, *how)


def test_the_best_figure_of_a_row_is_marked() -> None:
    def best(metric: str, values: list[float | None]) -> list[bool]:
        extractor = None if metric == "forward_passes" else "digits_cnn"
        figures = [None if value is None else measured(metric, value, extractor) for value in values]
        return [kind == "best" for _, kind in metric_row(metric_name(metric, extractor), figures)[1][:-1]]

    assert best("fid", [3.0, 1.0, None]) == [False, True, False]
    assert best("class_accuracy", [0.9, 0.95, 0.95]) == [False, True, True]
    assert best("forward_passes", [12, 12, 12]) == [False] * 3
    assert best("diversity", [1.0, 2.0]) == [False] * 2


def test_figures_are_as_precise_as_a_person_cares_for() -> None:
    assert [duration(s) for s in (0.0123, 3.21, 9.96, 48.4, 59.7, 433.2)] == [
        "12.3 ms", "3.2 s", "10 s", "48 s", "1 min 00 s", "7 min 13 s",
    ]  # fmt: skip
    assert figure(0.9125, "class_accuracy_digits_cnn") == "91.2 %"
    assert figure(14.256789, "fid_digits_cnn") == "14.26"
    assert figure(0.0123, "seconds_per_sample") == "12.3 ms"
    assert figure(49.0, "forward_passes") == "49"
    assert figure(2.4e-15, "code_usage") == "2.4e-15"  # of more codes than there are tokens
    assert [signed(3.21), signed(-0.44, 2)] == ["+3.2", "−0.44"]


def test_a_command_is_copied_as_it_was() -> None:
    line = "mmgen sample 'a run' --class \"<b>\" --mode ar"
    assert html.unescape(re.sub("<[^>]*>", "", unbroken_words(line))) == line


def test_sentences_have_strong_words_and_code_and_nothing_else() -> None:
    drawn = parts.paragraph("A <b> of **3 dB** by `fid_<i>`.", "note")
    assert drawn == '<p class="note">A &lt;b&gt; of <strong>3 dB</strong> by <code>fid_&lt;i&gt;</code>.</p>'
