"""`mmgen fit`, `validate` and `test`: Lightning's CLI over recipes.

Every argument of every part can be set in a recipe or on the command line, and is described by its own docstring:
`mmgen fit --model.help GeneratorModule`. The parser knows no subcommand, so that a key is the same in a recipe, on the
command line and in a reference (`${data.init_args.global_batch_size}`), which is resolved over all files and options.
"""

import logging
import shlex
import sys
import warnings
from contextvars import copy_context
from pathlib import Path
from typing import Any, Literal, NoReturn

import lightning as L
import torch
from jsonargparse import ArgumentError
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf.errors import OmegaConfBaseException

from mmgen.apps.cli.lightning_parts import log_settings, named_callbacks, named_loggers, reason_of
from mmgen.apps.cli.only_member import HELP, only, require_on_command_line
from mmgen.apps.cli.recipe_options import ordered, split_files
from mmgen.apps.cli.run_folder import RunFolder
from mmgen.core.disk import disk_error
from mmgen.core.errors import UserError, require
from mmgen.core.interruption import Interrupted, claim_children, end_with_claimant, interrupted_by
from mmgen.core.modality import import_all, import_parts
from mmgen.core.terminal import print_safely
from mmgen.core.yaml_text import parse_yaml, read_yaml
from mmgen.data.worker import lost_worker
from mmgen.store.checkpoint_file import steps_taken
from mmgen.store.config_errors import explain
from mmgen.store.environment import find_references, require_no_references, restore_references
from mmgen.store.option_values import check_values
from mmgen.store.recipe_parser import set_up_parser, without_enums
from mmgen.store.recipes import find_recipe
from mmgen.store.run_paths import set_run
from mmgen.store.store import CHECKPOINT, CONFIG
from mmgen.training.averaging import EMA, average_for
from mmgen.training.checkpoints import Checkpoints, SealedFiles
from mmgen.training.disk_space import DiskSpaceCheck
from mmgen.training.interruption import EndOnSignal, lost_rank
from mmgen.training.previews import SampleGrids
from mmgen.training.progress import Throughput
from mmgen.training.resume import Resume
from mmgen.training.skipping import SkipBadSteps
from mmgen.training.startup import StartUp
from mmgen.training.step_seed import StepSeed

# Packages whose classes a recipe may name.
PARTS = ("data", "model", "paradigms", "tokenizers", "training")

TRAINER = {
    "max_epochs": -1,  # trainer.max_steps ends a run
    "use_distributed_sampler": False,  # the data module divides the stream itself
    "check_val_every_n_epoch": None,  # the stream is one endless epoch: validation goes by steps
    "val_check_interval": 500,
    "num_sanity_val_steps": 0,  # an untrained VQ has no codebook to validate with
    "inference_mode": False,  # tensors that are cached while validating are used in training too
    "enable_model_summary": False,  # StartUp says more
    "log_every_n_steps": 10,
}

CALLBACKS = {"ema": EMA, "checkpoint": Checkpoints, "samples": SampleGrids, "skip": SkipBadSteps}
"""Section of a recipe -> the callback of mmgen's own whose arguments it holds."""

_MAY_BE_NULL = ("config", "run", "only", "ckpt_path")

NOISE = (  # warnings of Lightning's about what is meant to be so
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*callbacks used to create the checkpoint.*",  # which `Resume` says in a line
    ".*not created with WeightAveraging.*",
    ".*LeafSpec.*",
    ".*overrides the configure_model.*",  # to shard it, which then has an average of its own
)


_GO_ON = "the same command with --ckpt_path last goes on"


class RecipeCLI(LightningCLI):
    """Builds model, data and trainer from a recipe.

    Args:
        command: fit, validate or test.
        args: the command line after it.
    """

    def __init__(self, command: Literal["fit", "validate", "test"], args: list[str]) -> None:
        self.command, self.given = command, args
        self.recipes = [Path(file) for file in split_files(args)[0]]
        self.args = args = ordered(only(command, _without_other_tokenizers(args), self.recipes))
        super().__init__(
            L.LightningModule,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            run=False,
            args=args,
            trainer_defaults=TRAINER,
            seed_everything_default=0,
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "prog": f"mmgen {command}",
                "parser_mode": "omegaconf+",
                "exit_on_error": False,
                "description": __doc__,
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what is mmgen's own, and the facts that the data module tells the model."""
        parser.add_argument(
            "--run", type=str | None, default=None, help="run folder; runs/ and the name of the recipe by default"
        )
        if self.command == "fit":
            parser.add_argument("--only", type=str | None, default=None, metavar="MEMBER", help=HELP)
        checkpoint = (
            "`last` to go on with the run, a file, or a run folder for its last"
            if self.command == "fit"
            else "`last` or `best`, of the run, a file, or a run folder for its last"
        )
        default = None if self.command == "fit" else "last"
        parser.add_argument("--ckpt_path", type=str | None, default=default, help=f"checkpoint: {checkpoint}")
        precision = Literal["highest", "high", "medium"]
        parser.add_argument(
            "--matmul_precision", type=precision, default="highest", help="of float32 products on GPUs: high is TF32"
        )
        for key, kind in CALLBACKS.items():
            parser.add_lightning_class_args(kind, key)
        parser.set_defaults({"data": {"class_path": "mmgen.data.base.DataModule"}})
        parser.link_arguments("data", "model.init_args.facts", lambda data: data.facts, apply_on="instantiate")
        for module in ("model", "data"):
            parser.link_arguments("seed_everything", f"{module}.init_args.seed", compute_fn=_number)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Reads the command line; what is wrong with it becomes one line."""
        try:
            self.config = parser.parse_args(self.args)
        except ArgumentError as error:
            raise UserError(explain(str(error), parser)) from None
        except OmegaConfBaseException as error:
            raise UserError(f"{', '.join(map(str, self.recipes))}: {str(error).splitlines()[0]}") from None
        self.config = without_enums(self.config)
        _check_values(self.config.as_dict())

    def before_instantiate_classes(self) -> None:
        """Checks the run folder before anything costly is built."""
        require_on_command_line(self.config)
        if self.command == "fit":
            files, options = split_files(self.given)
            self.references = find_references((read_yaml(Path(file)) for file in files), options)
            require_no_references(self.references)
        self.folder = RunFolder.of(self.config.run, self.recipes)
        set_run(self.folder.path)
        self.ckpt_path = self.folder.checkpoint(self.config.ckpt_path)
        writes = self.command == "fit" and not self.config.trainer.fast_dev_run and rank_zero_only.rank == 0
        if writes and self.config.ckpt_path != "last":
            self.folder.require_free()
        torch.set_float32_matmul_precision(self.config.matmul_precision)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """A trainer with the command's callbacks; its loggers write to the run folder unless the recipe names some."""
        options = dict(self._get(self.config_init, "trainer"), default_root_dir=str(self.folder.path))
        if type(options["val_check_interval"]) is int:  # a recipe counts steps, and Lightning batches
            options["val_check_interval"] *= options["accumulate_grad_batches"]
        callbacks = named_callbacks(options["callbacks"], options["enable_progress_bar"])
        if self.command == "fit":
            own = ("ema", "checkpoint", "samples", "skip")
            ema, checkpoints, samples, skip = (self._get(self.config_init, key) for key in own)
            if not options["fast_dev_run"]:  # which leaves nothing on the disk
                for each in (checkpoints, samples, skip):
                    each.put_into(self.folder.path)
            average = [average_for(options["strategy"], ema)] if ema.decay else []
            # Samples stand before the average, which puts the training weights back at the end of a validation.
            callbacks += [
                StartUp(),
                Throughput(),
                StepSeed(self.config.seed_everything),
                Resume(),
                skip,
                samples,
                *average,
            ]
            if options["enable_checkpointing"] is not False and not options["fast_dev_run"]:
                callbacks += [DiskSpaceCheck(self.folder.path, checkpoints.best), checkpoints]
                options["plugins"] = _with_sealed_files(options["plugins"])
            callbacks += [EndOnSignal()]
        logger = named_loggers(options["logger"], self.command, self.folder.path)
        try:
            return self.trainer_class(**(options | {"callbacks": callbacks, "logger": logger}))
        except (MisconfigurationException, ModuleNotFoundError, ValueError, TypeError) as error:
            raise UserError(f"the trainer does not take these settings: {error}") from None

    def instantiate_classes(self) -> None:
        """Builds everything. A mistake that a part found in its arguments comes out of the parser's wrapping; so does
        what a part could not do with them, as a recipe is data that somebody wrote.
        """
        try:
            super().instantiate_classes()
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, UserError):
                cause = cause.__cause__ or cause.__context__
            if cause is None and (reason := reason_of(error)) is not None:
                cause = UserError(reason)
            if cause is None:
                place = ", ".join(map(str, self.recipes)) or "the command line"
                cause = UserError(f"{place}: what it asks for cannot be built ({type(error).__name__}: {error})")
            raise cause from error

    def start(self) -> None:
        """Run the command. A training that ends before its first step leaves no run folder; it can be started again."""
        writes = self.command == "fit" and not self.trainer.fast_dev_run and rank_zero_only.rank == 0
        if self.command == "fit" and isinstance(self.trainer.strategy.launcher, _MultiProcessingLauncher):
            raise UserError(
                f"trainer.strategy {self.config.trainer.strategy} trains in processes that leave nothing in this one:"
                " use ddp, which starts this command once for each device"
            )
        before = 0
        if self.command == "fit" and self.ckpt_path is not None and not self.trainer.fast_dev_run:
            before = steps_taken(self.ckpt_path)
            if 0 <= self.trainer.max_steps <= before:
                self._report_nothing_left(before)
                return
        if writes:
            text = self._config_text()
            self.folder.claim(resume=self.config.ckpt_path == "last")
            # Only then are data, checkpoint and disk known to be fine.
            self.trainer.callbacks.append(
                LambdaCallback(
                    setup=lambda *_, **__: log_settings(self.trainer.loggers, parse_yaml(text, CONFIG)),
                    on_train_start=lambda *_: self._write_config(text),
                )
            )
        claim_children()
        try:
            call = getattr(self.trainer, self.command)
            call(self.model, datamodule=self.datamodule, ckpt_path=self.ckpt_path, weights_only=True)
        except SystemExit as stop:  # Lightning's end after an interruption
            if not isinstance(stop.__context__, KeyboardInterrupt):
                raise
            self._interrupted(interrupted_by(stop.__context__), writes)
        except Exception as error:
            if isinstance(error, UserError) or (reason := self._explain(error)) is None:
                raise
            raise UserError(reason) from None
        finally:
            if writes:
                self.folder.release(started=self.trainer.global_step > 0)
        if writes and self.trainer.global_step == before:
            line = f"nothing was left to train after step {before}, by the recipe's limits of time or batches"
            print_safely(line, file=sys.stderr)
        if writes:
            print_safely(f"run folder: {self.folder.path}")

    def _explain(self, error: Exception) -> str | None:
        """A line on what stopped the command where that is no mistake of the program."""
        if (reason := lost_worker(error) or lost_rank(error)) is not None:
            return reason
        if isinstance(error, RuntimeError) and "loading state_dict" in str(error):
            detail = str(error).strip().splitlines()[1].strip().partition(",")[0]
            return f"checkpoint {self.ckpt_path} does not fit the config: {detail}"
        if self.command == "fit" and (reason := disk_error(error)) is not None:
            advice = _GO_ON if (self.folder.path / CHECKPOINT).exists() else "the same command starts anew"
            return f"run folder {self.folder.path} cannot be written ({reason}): make room; {advice}"
        return None

    def _report_nothing_left(self, step: int) -> None:
        """That is well for a run that has come to its end, and a mistake where another should begin there."""
        line = f"{self.ckpt_path} is already at step {step} of {self.trainer.max_steps}: nothing is left to train;"
        line += " a higher trainer.max_steps goes on"
        if self.config.ckpt_path != "last":
            raise UserError(line)
        if rank_zero_only.rank == 0:
            print_safely(line, file=sys.stderr)

    def _config_text(self) -> str:
        """The config.yaml of this run. Raises UserError where it could not be read again, as by a run that resumes."""
        config = self.config.clone()
        for key in ("run", "ckpt_path", "only"):  # a run folder may be moved, and is resumed only when asked for
            del config[key]
        try:
            text = self.parser.dump(config, skip_unset=False)
            again = self.parser.dump(self.parser.parse_string(text), skip_unset=False)
        except Exception as error:
            reason = explain(str(error), self.parser)
            raise UserError(f"{CONFIG} of this run could not be read again: {reason}") from None
        lost = [line.strip() for line in text.splitlines() if line not in again.splitlines()]
        require(not lost, f"{CONFIG} of this run would be read again without {', '.join(lost)}")
        return restore_references(text, self.references, "the config")

    def _write_config(self, text: str) -> None:
        command = shlex.join(["mmgen", "fit", *self.given])
        self.folder.write(text, command, resume=self.config.ckpt_path == "last")

    def _interrupted(self, stop: Interrupted, writes: bool) -> NoReturn:
        """Say how to go on, in the first process only."""
        if rank_zero_only.rank:
            raise SystemExit(stop.exit_code)
        resumable = writes and (self.folder.path / CHECKPOINT).exists()
        advice = [_GO_ON] * resumable
        raise Interrupted(stop.number, *map(str, stop.args), *advice) from None


def run(command: Literal["fit", "validate", "test"], args: list[str]) -> None:
    """Train, or measure, as a recipe says: `args` follow fit, validate or test on the command line. Raises UserError
    for a mistake in the recipe, the command line or the run folder.
    """
    if not args:
        raise UserError(f"give a recipe: mmgen {command} --config RECIPE (mmgen list names them)")
    for option in (arg.partition("=")[0] for arg in args):
        if option.startswith(("--model.", "--data.")) and option.endswith(".seed"):
            raise UserError(f"{option} follows --seed_everything: set that")
    set_up_parser()
    end_with_claimant()
    for package in PARTS:  # a short class name is found among the classes that were imported
        import_all(f"mmgen.{package}")
    import_parts()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # by which they print their reports
    with warnings.catch_warnings():
        for text in NOISE:
            warnings.filterwarnings("ignore", text)
        try:
            given = [_with_recipe_path(arg, before) for before, arg in zip(["", *args], args)]
            copy_context().run(lambda: RecipeCLI(command, given).start())
        except MisconfigurationException as error:
            raise UserError(str(error)) from None
        except UserError:
            raise
        except Exception as error:
            if (reason := reason_of(error)) is None:
                raise
            raise UserError(reason) from error


def _with_sealed_files(plugins: Any) -> list[Any]:
    """The plugins that a recipe names, and ours for files, unless one of them is for files."""
    named = [] if plugins is None else list(plugins) if isinstance(plugins, list | tuple) else [plugins]
    return named if any(isinstance(each, CheckpointIO) for each in named) else [*named, SealedFiles()]


def _check_values(config: dict[str, Any]) -> None:
    """Raises UserError for a value that means nothing, wherever it stands in a whole recipe."""
    groups = {"trainer": L.Trainer, **CALLBACKS}
    for key, value in config.items():
        require(value is not None or key in _MAY_BE_NULL, f"{key} null means nothing: leave it out for the default")
        if key in groups:
            require(isinstance(value, dict), f"{key} {value} is no section: give its options, {key}.NAME: VALUE")
            check_values(value, groups[key], f"{key}.")
        else:
            check_values({key: value}, None)


def _number(seed: bool | int) -> int:
    if isinstance(seed, bool):
        raise UserError("seed_everything must be a number, so that the run can be repeated")
    return seed


def _without_other_tokenizers(args: list[str]) -> list[str]:
    """With stored tokens as data, which know their tokenizer, the one that the recipe has for other data falls away."""
    pairs = [arg.split("=", 1) if "=" in arg else [arg, after] for arg, after in zip(args, [*args[1:], ""])]
    sources = [name for name, value in pairs if name.endswith(".source") and value.endswith("CachedTokens")]
    options = [f"{name.removesuffix('source')}tokenizer" for name in sources if name.startswith("--data.")]
    return [*args, *(f"{name}=null" for name in options if name not in {name for name, _ in pairs})]


def _with_recipe_path(arg: str, before: str) -> str:
    """The path of a recipe, where this argument names one: as given, in a folder given, or among mmgen's own."""
    option, equals, text = arg.partition("=") if arg.startswith(("--config=", "-c=")) else ("", "", arg)
    if not equals and before not in ("--config", "-c"):
        return arg
    path = find_recipe(text)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no keys: a recipe has model, data and trainer")
    return f"{option}{equals}{path}"
