"""The command reference: what `mmgen COMMAND --help` says, from the same signatures, docstrings and parsers."""

import inspect
from argparse import SUPPRESS
from collections.abc import Iterator
from typing import Any

import docstring_parser

from mmgen.apps.cli.fit import RecipeCLI
from mmgen.apps.cli.main import COMMANDS, TRAINING, command_module
from sitegen.arguments import described, paragraphs, plain, rows, table, type_name, value


def reference(_: str, page: str) -> str:
    """A section for every command."""
    return "\n".join(_training(name) if name in TRAINING else _plain(name) for name in COMMANDS)


def _plain(name: str) -> str:
    """A command that is a function."""
    run = command_module(name).run
    about, by_place, options = docstring_parser.parse(inspect.getdoc(run) or ""), [], []
    required = {each.name for each in inspect.signature(run).parameters.values() if each.default is each.empty}
    keyword = {each.name for each in inspect.signature(run).parameters.values() if each.kind is each.KEYWORD_ONLY}
    for argument, *rest in rows(run, described(run)):
        option = argument.rstrip("_")
        if argument in required and argument not in keyword:
            by_place.append((option.upper(), *rest))
        else:
            options.append((f"--{option}", *rest))
    usage = " ".join(["mmgen", name, *(place for place, *_ in by_place)])
    return _section(name, usage, paragraphs(about), table("argument", by_place), table("option", options))


def _section(name: str, usage: str, *parts: str) -> str:
    head = [f"## mmgen {name} {{#{name}}}", f"{COMMANDS[name].capitalize()}.", f"```sh\n{usage} [OPTIONS]\n```"]
    return "\n\n".join([*head, *filter(None, parts), ""])


def _training(name: str) -> str:
    """A command that is Lightning's, over a recipe."""
    if name != TRAINING[0]:
        same = f"Takes what [`mmgen {TRAINING[0]}`](#{TRAINING[0]}) takes, and a run's own config.yaml as recipe:"
        return _section(name, f"mmgen {name} --config RUN/config.yaml", f"{same} `--ckpt_path` is `last` by default.")
    own: list[tuple[str, ...]] = []
    trainer: list[tuple[str, ...]] = []
    for row in _options(name):
        (trainer if row[0].startswith("--trainer.") else own).append(row)
    text = (
        "Every argument of every part of a recipe is an option too: `--model.optimizer.lr 1e-3` sets"
        " `model.init_args.optimizer.init_args.lr`,"
        " `--model.paradigm.steps 8` that of the paradigm. What there is says [Parts of a recipe](parts.md)."
        " Several `--config` are merged, the later ones over the earlier ones. `--print_config` prints what a run would"
        " use, and trains nothing."
    )
    folded = table("option", trainer).replace("\n", "\n    ")
    note = f'??? note "Options of Lightning\'s trainer"\n\n    {folded}'
    return _section(name, f"mmgen {name} --config RECIPE", text, table("option", own), note)


def _options(name: str) -> Iterator[tuple[str, ...]]:
    """(option, type, default, description) of all that the parser takes beside model and data."""
    for action in _parser(name)._actions:
        spelled = [option for option in action.option_strings if option.startswith("--") and option[-1] != "+"]
        if not spelled or spelled[0].endswith((".help", "--help")) or _is_group(action):
            continue
        kind = getattr(action, "_typehint", None) or action.type
        default = "" if action.default == SUPPRESS else value(action.default)
        yield spelled[0], type_name(kind) if kind else "", default, plain((action.help or "").replace("``", "`"))


def _is_group(action: Any) -> bool:
    """A whole part, whose own options follow, or are told elsewhere."""
    return action.dest in ("model", "data", "trainer", "ema", "checkpoint", "samples")


class _Found(Exception):
    """Carries a parser out of the command line's construction."""


class _Reader(RecipeCLI):
    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise _Found(parser)


def _parser(name: Any) -> Any:
    try:
        _Reader(name, [])
    except _Found as found:
        return found.args[0]
    raise AssertionError("the command line reads no arguments")
