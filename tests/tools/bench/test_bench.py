"""Benchmarks are found, named and asserted; their statistics are right on clocks of our own. No time is asserted."""

import json

import pytest
import torch

from mmgen.apps.cli.main import main
from mmgen.tools.bench import Benchmark, Comparison, Conditions, Result, catalogue, compare
from mmgen.tools.bench.timing import PATIENCE, Sample, peak_mebibytes

KEYS = {"name", "ours", "peer", "unit", "ratio", "goal", "limit_share", "device", "settings"}


class Clock:
    """Says what a script says: a contender's seconds and disturbance, run by run."""

    def __init__(self, script: dict[object, list[tuple[float, float]]]) -> None:
        self.script, self.called = {name: list(runs) for name, runs in script.items()}, []

    def __call__(self, contender, calls: int) -> Sample:
        name = contender()
        self.called.append((name, calls))
        runs = self.script[name]
        return Sample(*(runs.pop(0) if len(runs) > 1 else runs[0]))


def test_contenders_run_in_turn_and_each_begins_a_round() -> None:
    clock = Clock({"a": [(1.0, 0.0)], "b": [(2.0, 0.0)], "c": [(4.0, 0.0)]})
    measured = compare({name: lambda name=name: name for name in "abc"}, runs=3, stopwatch=clock)
    assert [name for name, _ in clock.called[6:]] == list("abcbcacab")
    assert measured.ratio("b", "a") == 2 and measured.median("c") == 4 and measured.counts() == {
        "runs": 3, "disturbed": 0, "noisy": 0,
    }  # fmt: skip


def test_quick_contenders_are_called_often_enough() -> None:
    clock = Clock({"a": [(0.01, 0.0)], "b": [(0.5, 0.0)]})
    compare({name: lambda name=name: name for name in "ab"}, runs=1, least=0.2, stopwatch=clock)
    assert dict(clock.called[4:]) == {"a": 20, "b": 1}


def test_disturbed_rounds_are_set_aside_as_a_whole() -> None:
    warm = [(1.0, 0.0)] * 2
    clock = Clock({"a": [*warm, (9.0, 0.5), (1.0, 0.0)], "b": [*warm, (3.0, 0.0)]})
    measured = compare({name: lambda name=name: name for name in "ab"}, runs=3, stopwatch=clock)
    assert measured.counts() == {"runs": 3, "disturbed": 1, "noisy": 0}
    assert measured.median("a") == 1 and measured.ratio("b", "a") == 3


def test_where_none_is_quiet_the_quietest_count_and_are_told() -> None:
    clock = Clock({"a": [(1.0, 0.0)] * 2 + [(5.0, 0.9), (1.0, 0.2)]})
    measured = compare({"a": lambda: "a"}, runs=2, stopwatch=clock)
    assert len(clock.called) == 2 + PATIENCE * 2 and measured.counts() == {"runs": 2, "disturbed": 2, "noisy": 2}
    assert measured.median("a") == 1


def test_the_ratio_is_a_median_of_ratios_and_not_a_ratio_of_medians() -> None:
    rounds = [{"a": 1.0, "b": 2.0}, {"a": 10.0, "b": 20.0}, {"a": 3.0, "b": 9.0}]
    assert Comparison(rounds).ratio("b", "a") == 2 and Comparison(rounds).median("b") == 9


def test_results_are_better_when_the_ratio_is_higher() -> None:
    rounds = Comparison([{"ours": 0.5, "x": 1.0, "least": 0.4}])
    result = Conditions().result("n", rounds, "x", work=100, unit="tokens/s", goal=1.5, limit="least")
    assert (result.ours, result.peer, result.ratio, result.met) == (200, 100, 2, True)
    assert result.limit_share == pytest.approx(0.8) and result.settings["peer"] == "x"
    assert Conditions().result("n", rounds, "x").ours == 500  # ms
    assert Conditions().result("n", rounds, "x", goal=2.5).met is False


def test_every_benchmark_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(catalogue())
    assert {"block", "bsq", "decode", "masked", "masks"} <= set(catalogue())
    assert all(each.sentence in line for each, line in zip(catalogue().values(), listed, strict=True))


def test_unknown_names_and_numbers_end_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "decod"]) == 2
    assert "did you mean 'decode'" in capsys.readouterr().err
    assert main(["bench", "masks", "--runs", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_needs_a_package_is_skipped_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = Benchmark("absent", "a sentence", ("no-such-package",), lambda _: pytest.fail("it was run"))
    monkeypatch.setattr("mmgen.tools.bench.benchmark.catalogue", lambda: {"absent": absent})
    assert main(["bench", "absent"]) == 0
    assert "pip install 'mmgen[bench]'" in capsys.readouterr().out
    assert main(["bench", "absent", "--json"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["bench", "--list"]) == 0


@pytest.mark.parametrize("name", ["block", "bsq", "decode", "flow_step", "masked", "masks"])
def test_both_sides_do_the_same_and_the_json_says_all(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the smallest sizes: whatever a benchmark asserts about both sides is asserted here."""
    if missing := catalogue()[name].missing():
        pytest.skip(f"needs {', '.join(missing)}")
    assert main(["bench", name, "--tiny", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert lines
    for line in lines:
        assert line.keys() >= KEYS and line["name"].split("/")[0] == name
        assert line["ours"] > 0 and line["peer"] > 0 and line["ratio"] > 0
        assert Result(**line).to_dict() == line


def test_memory_is_what_is_held_at_a_time() -> None:
    def twice() -> None:
        for _ in range(2):
            one = torch.ones(2**18)  # 1 MiB
            del one

    def both() -> list[torch.Tensor]:
        return [torch.ones(2**18) for _ in range(2)]

    assert peak_mebibytes(twice, torch.device("cpu")) == pytest.approx(1, abs=0.1)
    assert peak_mebibytes(both, torch.device("cpu")) == pytest.approx(2, abs=0.1)
