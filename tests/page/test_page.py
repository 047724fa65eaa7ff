import html
import re

from mmgen.page.page import duration, figure, signed, words
from mmgen.page.sections import metric_row


def test_the_best_figure_of_a_row_is_marked() -> None:
    def best(name: str, values: list[float | None]) -> list[bool]:
        return [cell["best"] for cell in metric_row(name, values)["cells"]]

    assert best("fid_digits_cnn", [3.0, 1.0, None]) == [False, True, False]
    assert best("class_accuracy_digits_cnn", [0.9, 0.95, 0.95]) == [False, True, True]
    assert best("drift_frames_pixels", [3.0, 1.0]) == [False, True]
    assert best("forward_passes", [12, 12, 12]) == [False] * 3
    assert best("steps", [1, 2, 3]) == [False] * 3


def test_figures_are_as_precise_as_a_person_cares_for() -> None:
    assert [duration(s) for s in (0.0123, 3.21, 9.96, 48.4, 59.7, 433.2)] == [
        "12.3 ms", "3.2 s", "10 s", "48 s", "1 min 00 s", "7 min 13 s",
    ]  # fmt: skip
    assert figure(0.9125, "class_accuracy_digits_cnn") == "91.2 %"
    assert figure(14.256789, "fid_digits_cnn") == "14.26"
    assert figure(0.0123, "seconds_per_sample") == "12.3 ms"
    assert figure(49.0, "forward_passes") == "49"
    assert figure(2.4e-15, "code_usage") == "2.4e-15"  # of more codes than there are tokens


def test_a_command_is_copied_as_it_was() -> None:
    line = "mmgen sample 'a run' --class \"<b>\" --mode ar"
    assert html.unescape(re.sub("<[^>]*>", "", words(line))) == line


def test_a_difference_has_its_sign() -> None:
    assert [signed(3.21), signed(-0.44, 2)] == ["+3.2", "−0.44"]
