"""The `mmgen` command: finds the command asked for, reads its arguments by its types, turns a mistake into one line.

Only the chosen command's module is imported, so that help and the light commands answer at once.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ArgumentError, ArgumentParser

from mmgen import __version__
from mmgen.core.command_options import update_modality_options
from mmgen.core.disk import disk_error, quiet_threads
from mmgen.core.errors import UserError, nearest
from mmgen.core.interruption import handle_signals, interrupt, interrupted_by
from mmgen.core.modality import all_modalities
from mmgen.core.terminal import print_safely
from mmgen.store.config_errors import explain
from mmgen.store.option_values import check_values

TRAINING = ("fit", "validate", "test")  # these read a whole recipe: mmgen/apps/cli/fit.py

COMMANDS = {
    "fit": "train a tokenizer or a generator from a recipe",
    "validate": "measure a run's losses on the validation set",
    "test": "measure a run's losses on the test set",
    "sample": "draw samples from a trained generator",
    "reconstruct": "encode files with a tokenizer and decode them again",
    "compress": "write images as one small file, under an autoregressive generator",
    "decompress": "turn such a file back into images",
    "tokenize": "write a data set as tokens, once, for quicker training",
    "evaluate": "measure a tokenizer or a generator and record the figures",
    "export": "write a run as safetensors + config, to share or to deploy",
    "plan": "say what a training run will take: parameters, arithmetic, memory, days",
    "report": "one page about a run, or several side by side",
    "card": "render the tables of figures in the recipes' README files",
    "masks": "draw the attention masks",
    "list": "list recipes, masks and the parts a recipe may name",
    "bench": "measure speed and memory beside those of other packages",
    "demo": "train on digits, written, moving or spoken, sample, make a page of it",
    "serve": "a local page on which a person samples the trained runs",
} | {name: text for modality in all_modalities() for name, text in modality.commands.items()}

_ELSEWHERE = {"predict": ": sample draws from a generator, reconstruct and tokenize take a tokenizer"}

HELP = """\
mmgen: autoregressive, masked and diffusion generation over one backbone

usage: mmgen COMMAND [OPTIONS]
       mmgen COMMAND --help       what a command takes

{commands}

A first walk:
  mmgen list                                                   what there is
  mmgen fit --config tokenizers/digits_bsq/config.yaml         digits to tokens: runs/digits_bsq
  mmgen fit --config experiments/digits_mixture/config.yaml    a generator of those tokens: runs/digits_mixture
  mmgen sample runs/digits_mixture --mode masked --num 16      its samples
Or all of it at once, with a page to look at: mmgen demo
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command, by default that of this process's command line. Returns the exit code: 0, 2 after a mistake of
    the user or a full disk (reported in one line on stderr), 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        with handle_signals(interrupt), quiet_threads():
            dispatch(list(sys.argv[1:] if args is None else args))
            sys.stdout.flush()
    except UserError as error:
        if os.environ.get("MMGEN_TRACEBACK"):  # for whoever writes a part
            traceback.print_exc()
        return _fail(str(error))
    except SystemExit as stop:  # --help and --print_config end this way
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt as stop:
        ended = interrupted_by(stop)
        with suppress(OSError):  # the terminal may be gone
            print_safely(f"mmgen: {ended}", file=sys.stderr)
        return ended.exit_code
    except BrokenPipeError:  # whoever read the output has seen enough
        _drop_output()
        return 141  # as other programs, which SIGPIPE ends
    except Exception as error:
        if (reason := disk_error(error)) is None or os.environ.get("MMGEN_TRACEBACK"):
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        where = f"{name}: " if (name := getattr(error, "filename", None)) else ""
        return _fail(f"{where}{reason}; make room, and start the command again")
    return 0


def entry() -> None:
    """Entry point of the installed `mmgen` script."""
    sys.exit(main())


def dispatch(args: list[str]) -> None:
    """Run one command. Raises UserError for a mistake of the user."""
    name, *rest = args or ["--help"]
    if name in ("-h", "--help", "help"):
        print_safely(
            HELP.format(commands="\n".join(f"  {command:<12} {text}" for command, text in COMMANDS.items())), end=""
        )
    elif name == "--version":
        print_safely(f"mmgen {__version__}")
    elif name in TRAINING:
        import_module("mmgen.apps.cli.fit").run(name, _underscored(rest))
    elif name in COMMANDS:
        _run_function(command_module(name).run, name, _underscored(rest))
    else:
        hint = _ELSEWHERE.get(name) or nearest(name, COMMANDS)
        raise UserError(f"there is no command {name!r}{hint} (mmgen --help lists them)")


def command_module(name: str) -> Any:
    """The module of a command: one of this package, or of the modality that brings it."""
    owner = next((each for each in all_modalities() if name in each.commands), None)
    return import_module(f"mmgen.apps.cli.{name}" if owner is None else f"{owner.package}.commands.{name}")


def _run_function(function: Callable[..., Any], name: str, args: list[str]) -> None:
    """Call a command's function: arguments read by their types, described by its docstring, required ones by place."""
    function = update_modality_options(function)
    types = get_type_hints(function)
    parameters = list(signature(function).parameters.values())
    lists = {each.name: each.default for each in parameters if get_origin(types[each.name]) in (list, Sequence)}
    repeated = [each.name for each in parameters if types[each.name] == list[str] | None]
    optional = [each.name for each in parameters[:1] if each.default is not each.empty and each.name not in lists]
    if optional and args and not args[0].startswith("-"):  # mmgen masks [NAME]
        args = [f"--{optional[0]}={args[0]}", *args[1:]]
    flags = [f"--{option.rstrip('_')}" for option, kind in types.items() if kind is bool]
    parser = ArgumentParser(prog=f"mmgen {name}", description=COMMANDS[name], exit_on_error=False, allow_abbrev=False)
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip={*lists, *repeated})
    for option, default in lists.items():  # FILE FILE ..., where the function takes a list
        some: dict[str, Any] = {"nargs": "+"} if default is Parameter.empty else {"nargs": "*", "default": default}
        parser.add_argument(option, type=get_args(types[option])[0], help=_described(function, option), **some)
    for option in repeated:  # --text TEXT --text TEXT
        parser.add_argument(f"--{option}", action="append", type=str, help=_described(function, option))
    for action in parser._actions:  # `class_` in Python is `--class` here
        for option in [option for option in action.option_strings if option.endswith("_")]:
            parser._option_string_actions[option.rstrip("_")] = parser._option_string_actions.pop(option)
        action.option_strings = [option.rstrip("_") for option in action.option_strings]
    try:
        parsed = parser.instantiate(parser.parse_args(_spelled_out(args, flags)))
    except ArgumentError as error:
        raise UserError(f"{explain(str(error), parser)} (mmgen {name} --help)") from None
    check_values(parsed.as_dict(), function, "--")
    function(**parsed.as_dict())


def _described(function: Callable[..., Any], parameter: str) -> str | None:
    described = docstring_parser.parse(function.__doc__ or "").params
    return next((each.description for each in described if each.arg_name == parameter), None)


def _spelled_out(args: list[str], flags: list[str]) -> list[str]:
    """--flag is --flag=true."""
    following = [*args[1:], ""]
    return [
        f"{arg}=true" if arg in flags and word not in ("true", "false") else arg for arg, word in zip(args, following)
    ]


def _underscored(args: list[str]) -> list[str]:
    """--top-k is --top_k; and --out=~/samples is in the home folder, which a shell says only where a word begins so."""
    parts = [arg.partition("=") for arg in args]
    return [
        (option.replace("-", "_").replace("__", "--", 1) if option.startswith("--") else option)
        + equals
        + (os.path.expanduser(value) if value.startswith("~/") else value)
        for option, equals, value in parts
    ]


def _drop_output() -> None:
    """What is still to be printed goes nowhere: Python would try once more at its end, and complain."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    print_safely("mmgen: error:", " ".join(message.split()), file=sys.stderr)
    return 2
