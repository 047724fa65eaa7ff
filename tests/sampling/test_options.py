"""The options of sampling are the sampler's own."""

import inspect
from dataclasses import fields, replace

from mmgen.apps.cli import evaluate, sample
from mmgen.core.progress import command_line
from mmgen.paradigms import Decoding, Guidance, SampleOptions
from mmgen.sampling.options import SAMPLING, all_arguments, sample_options, settings, takes_sampling


def test_every_rule_of_decoding_is_an_option_of_every_command_that_samples() -> None:
    for run in (sample.run, evaluate.run):
        parameters = inspect.signature(run).parameters
        assert {field.name for field in fields(Decoding)} | {"steps", "cfg", "cfg_schedule"} <= set(parameters)
        assert "options" not in parameters
        for field in fields(Decoding):
            assert parameters[field.name].default == field.default


def test_what_is_not_given_is_the_sampler_s_default() -> None:
    assert sample_options({}) == SampleOptions()
    given = {"steps": 8, "cfg": 3.0, "cfg_schedule": "linear", "top_k": 5, "path": "a run", "seed": 1}
    assert sample_options(given) == SampleOptions(8, Guidance(3.0, "linear"), Decoding(top_k=5))


def test_each_option_reaches_its_rule() -> None:
    others = {"order": "random", "select": "threshold", "remask": "cap", "top_k": 3, "top_p": 0.5, "stop_entropy": 0.25}
    for field in fields(Decoding):
        value = others.get(field.name, 0.125)
        found = sample_options({field.name: value}).decoding
        assert found == replace(Decoding(), **{field.name: value}) != Decoding()


def test_settings_are_what_differs_from_the_defaults() -> None:
    assert settings(SAMPLING) is None
    assert settings(SAMPLING | {"steps": 4, "cfg": 2.0, "top_k": 8}) == "cfg 2.0, top_k 8"


def test_a_command_gets_them_by_name_and_can_be_repeated() -> None:
    found: dict[str, object] = {}

    @takes_sampling
    def run(path: str, num: int = 1, **options: object) -> None:
        """Draw.

        Args:
            path: of a run.
            num: how many.
        """
        found.update(all_arguments(dict(locals(), found=None)))

    run("a", cfg=2.0)
    assert (found["path"], found["num"], found["cfg"], found["temperature"]) == ("a", 1, 2.0, 1.0)
    assert command_line("draw", run, found) == "mmgen draw a --cfg 2.0"
    assert (run.__doc__ or "").count("top_k: ") == 1
