"""What `mmgen evaluate` measures of a tokenizer, a generator, or a file of samples: figures, each with the words that
say how it was measured.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmgen.cli.options import SAMPLING, sample_options, settings
from mmgen.cli.progress import progress_bar
from mmgen.data.build import build_source, open_source
from mmgen.errors import UserError
from mmgen.evaluation.codecs import PROTOCOL, codec_figures
from mmgen.evaluation.extractors import Extractor, Judge, get_extractor
from mmgen.evaluation.likelihood import measure_likelihood
from mmgen.evaluation.measure import (
    check_mode,
    check_shapes,
    compare,
    measure_mode,
    measure_tokenizer,
    real_features,
)
from mmgen.evaluation.npz import read_npz, write_npz
from mmgen.evaluation.reference import Reference
from mmgen.imaging import to_uint8
from mmgen.results import base_metric
from mmgen.sampling import require_tokenizer
from mmgen.store import Loaded, Saved, load_generator, load_tokenizer
from mmgen.tokenizers import Tokenizer

Rows = list[tuple[dict[str, Any], dict[str, float]]]
"""Pairs of what some figures have in common (fields of `mmgen.results.Figure`) and their values by base name."""

DRAWS = 8
"""Corruptions a sample, over which a bound on its likelihood is averaged."""


@dataclass(frozen=True)
class Measuring:
    """One call of the command.

    Args:
        arguments: of the command, by name, those of sampling among them.
        unset: their defaults.
        device: that networks run on.
    """

    arguments: dict[str, Any]
    unset: dict[str, Any]
    device: str

    def tokenizer(self, saved: Saved) -> tuple[Rows, Reference]:
        """What a tokenizer keeps of held-out images.

        Raises:
            UserError: as the parts do, before anything is measured.
        """
        self._refuse(f"for generators, and {saved.path} is a tokenizer", "mode", "num", "seed", "likelihood", *SAMPLING)
        tokenizer = load_tokenizer(saved.path).to(self.device)
        reference = self._reference(saved, tokenizer)
        extractor, batch = self._extractor(reference), self.arguments["batch"]
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_tokenizer(tokenizer, reference, extractor, batch, progress)
        if self.arguments["npz"] is not None:
            write_npz(self.arguments["npz"], report.pixels)
        common = {"samples": len(reference), "seed": None, "steps": None}
        rows = _rows(report.figures, extractor, reference, common, _precision(tokenizer))
        if self.arguments["codecs"]:
            originals = torch.cat([to_uint8(each["x"]) for each in reference.batches(batch)])
            with progress_bar("JPEG and WebP", 2) as progress:
                figures = codec_figures(originals, tokenizer.spec.bits_per_sample, progress)
            rows += _rows(figures, None, reference, common, "", codecs=PROTOCOL)
        return rows, reference

    def generator(self, saved: Saved) -> tuple[Rows, Reference]:
        """Samples of a generator in each of its modes, or in the chosen one, beside held-out images.

        Raises:
            UserError: as the parts do, before anything is sampled.
        """
        self._refuse(f"for tokenizers, and {saved.path} is a generator", "codecs")
        mode, num, seed, batch, npz = (self.arguments[name] for name in ("mode", "num", "seed", "batch", "npz"))
        options = sample_options(self.arguments)
        loaded = load_generator(saved.path).to(self.device)
        modes = list(loaded.paradigm.modes()) if mode is None else [mode]
        for each in modes:
            check_mode(loaded, each, num, options, batch)
        if npz is not None and len(modes) > 1:
            raise UserError(f"--npz holds the samples of one mode: choose --mode {' or '.join(modes)}")
        likely = [each for each in modes if loaded.paradigm.modes()[each].likelihood is not None]
        if self.arguments["likelihood"] and not likely:
            raise UserError(f"--likelihood: {saved.path} has none in mode {' or '.join(modes)}; leave it out")
        reference = self._reference(saved, require_tokenizer(loaded))
        extractor, precision = self._extractor(reference), _precision(loaded.generator)
        real = real_features(extractor, reference, batch)
        adaptive = options.decoding.select != "count" or options.decoding.stop_entropy is not None
        rows: Rows = []
        for each in modes:
            with progress_bar(f"sampling: {each}", num) as progress:
                report = measure_mode(loaded, each, real, extractor, num, options, seed, batch, progress)
            if npz is not None:
                write_npz(npz, to_uint8(report.sampled.images), report.labels)
            steps = None if adaptive else report.sampled.steps
            common = {"samples": num, "seed": seed, "steps": steps, "mode": each}
            common["settings"] = settings(self.arguments)
            rows += _rows(report.figures, extractor, reference, common, precision)
        if self.arguments["likelihood"]:
            rows += [row for each in likely for row in self._likelihood(loaded, each, reference)]
        return rows, reference

    def _likelihood(self, loaded: Loaded, mode: str, reference: Reference) -> Rows:
        """How well a mode predicts the tokens of the held-out samples; no option of sampling enters it."""
        with progress_bar(f"likelihood: {mode}", len(reference)) as progress:
            figures = measure_likelihood(loaded, mode, reference, self.arguments["batch"], DRAWS, progress)
        common = {"samples": len(reference), "seed": 0, "steps": None, "mode": mode}
        exact = loaded.paradigm.modes()[mode].likelihood == "exact"
        given = "of the tokens given the class" if loaded.generator.classes else "of the tokens"
        kind = f"{given}, exact" if exact else f"{given}, an upper bound, the mean of {DRAWS} draws a sample"
        rows: Rows = []
        for name in ("bits_per_dim", "bits_per_image"):
            how = {"likelihood": kind, "standard_error": float(f"{figures[f'{name}_se']:.3g}")}
            rows += _rows({name: figures[name]}, None, reference, common, _precision(loaded.generator), **how)
        return rows

    def samples(self, file: str) -> tuple[Rows, Reference]:
        """Images that something else has drawn, in ADM's form, beside held-out ones.

        Raises:
            UserError: as the parts do, before anything is measured.
        """
        taken = ("mode", "num", "npz", "likelihood", "codecs", *SAMPLING)
        self._refuse(f"for runs, and {file} is a file of samples", *taken)
        reference = self._reference(None, None)
        images = read_npz(file, reference.sample_shape)
        extractor, batch, seed = self._extractor(reference), self.arguments["batch"], self.arguments["seed"]
        real = real_features(extractor, reference, batch)
        classes = reference.classes if bool((images.labels >= 0).all()) else 0
        figures, _ = compare(real, images.pixels, images.labels, extractor, classes, seed, batch)
        common = {"samples": len(images), "seed": seed, "steps": None}
        return _rows(figures, extractor, reference, common, ""), reference

    def _refuse(self, why: str, *names: str) -> None:
        """Raises UserError for the first of these options that was given."""
        for name in names:
            if self.arguments[name] != self.unset[name]:
                raise UserError(f"--{name} is {why}; leave it out")

    def _extractor(self, reference: Reference) -> Extractor:
        """The chosen network, or the usual one, and a word on how far it can be trusted."""
        name, weights = self.arguments["extractor"], self.arguments["weights"]
        found = get_extractor(name, reference.sample_shape, weights=weights, device=self.device)
        if isinstance(found, Judge):
            print(f"judge: {found.name}, right about {found.accuracy:.1%} of held-out real samples")
        return found

    def _reference(self, saved: Saved | None, tokenizer: Tokenizer | None) -> Reference:
        """The real images; of the size that the tokenizer takes, if there is one."""
        file, data = self.arguments["reference"], self.arguments["data"]
        if file is not None and data is not None:
            raise UserError("--reference and --data both name the real images; leave one out")
        if file is not None:
            return Reference.read(file, None if tokenizer is None else tokenizer.sample_shape)
        if data is None and saved is None:
            raise UserError("samples are compared with real images: name these by --data or --reference")
        source = build_source(saved.config) if data is None and saved is not None else open_source(data)
        if tokenizer is not None:
            check_shapes(tokenizer, source.sample_shape)
        return Reference.held_out(source)


def _rows(
    figures: dict[str, float],
    extractor: Extractor | None,
    reference: Reference,
    common: dict[str, Any],
    precision: str,
    **protocol: Any,
) -> Rows:
    """Figures by base name, apart by whether the extractor made them, with their protocol.

    Args:
        figures: full metric name -> value.
        extractor: which looked at the images; None where none did.
        reference: the real ones.
        common: fields of a figure.
        precision: of the network that made the images; empty where mmgen ran none.
        protocol: what else is to be said of how they were measured.
    """
    how = {"crop": reference.crop, "n": common["samples"], "seed": common["seed"]}
    how |= {"dtype": f"{precision} network, uint8 images" if precision else "uint8 images"} | protocol
    about = {"reference": reference.about()}
    looked = (
        {} if extractor is None else {name: figures[name] for name in figures if name.endswith(f"_{extractor.name}")}
    )
    rows: Rows = []
    if extractor is not None and looked:
        based = {base_metric(name, extractor.name): value for name, value in looked.items()}
        rows += [(common | {"extractor": extractor.name, "protocol": how | extractor.protocol | about}, based)]
    plain = {name: value for name, value in figures.items() if name not in looked}
    return [*rows, (common | {"protocol": how | about}, plain)]


def _precision(module: nn.Module) -> str:
    """`float32`."""
    return str(next(module.parameters()).dtype).removeprefix("torch.")
