"""What `mmgen evaluate` measures of images: of a tokenizer what it keeps, of a generator how real its samples look."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.build import build_source, open_source
from mmgen.evaluation.command import (
    EvaluationCommand,
    ResultRows,
    adaptive,
    figure_rows,
    precision_of,
)
from mmgen.evaluation.extractors import Extractor, Judge
from mmgen.evaluation.likelihood_rows import likelihood_rows, modes_with_likelihood
from mmgen.evaluation.reference import Reference
from mmgen.media.folders import require_new_file
from mmgen.media.images import to_uint8
from mmgen.modalities.image.evaluation.extractors import get_image_extractor
from mmgen.modalities.image.evaluation.image_codecs import PROTOCOL, codec_figures
from mmgen.modalities.image.evaluation.measure import (
    check_mode,
    check_shapes,
    compare,
    measure_mode,
    measure_tokenizer,
    real_features,
)
from mmgen.modalities.image.evaluation.npz import read_npz, read_reference, write_npz
from mmgen.paradigms import SampleOptions
from mmgen.sampling.options import settings
from mmgen.sampling.samples import require_tokenizer
from mmgen.store.store import Loaded, Saved
from mmgen.tokenizers import Tokenizer

IMAGES = 1000
"""How many samples a mode draws by default: `--num`."""

IMAGES_AT_ONCE = 100
"""How many are in memory together by default: `--batch`."""


@dataclass(frozen=True)
class ImageEvaluation(EvaluationCommand):
    """One call of the command, on images."""

    def tokenizer(self, saved: Saved, tokenizer: Tokenizer) -> tuple[ResultRows, Reference]:
        self.reject_options(f"for generators and for tokenizers of other samples, and {saved.path} is neither", "num")
        self.reject_options(f"for generators, and {saved.path} is a tokenizer", "likelihood")
        self._require_new_npz()
        reference = self._reference(saved, tokenizer)
        extractor, batch = self._extractor(reference), self.given("batch", IMAGES_AT_ONCE)
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_tokenizer(tokenizer, reference, extractor, batch, progress)
        self._write_npz(report.pixels)
        common = {"samples": len(reference), "seed": None, "steps": None}
        rows = figure_rows(report.figures, extractor, reference, common, precision_of(tokenizer))
        if self.arguments["codecs"]:
            originals = torch.cat([to_uint8(each["x"]) for each in reference.batches(batch)])
            with progress_bar("JPEG and WebP", 2) as progress:
                figures = codec_figures(originals, tokenizer.spec.bits_per_sample, progress)
            rows += figure_rows(figures, None, reference, common, "", codecs=PROTOCOL)
        return rows, reference

    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[ResultRows, Reference]:
        self.reject_options(f"for tokenizers, and {saved.path} is a generator", "codecs")
        mode, seed, npz = (self.arguments[name] for name in ("mode", "seed", "npz"))
        num, batch = self.given("num", IMAGES), self.given("batch", IMAGES_AT_ONCE)
        modes = list(loaded.paradigm.modes()) if mode is None else [mode]
        for each in modes:
            check_mode(loaded, each, num, options, batch)
        self._require_new_npz()
        if npz is not None and len(modes) > 1:
            raise UserError(f"--npz holds the samples of one mode: choose --mode {' or '.join(modes)}")
        likely = modes_with_likelihood(loaded, modes, self.arguments["likelihood"])
        reference = self._reference(saved, require_tokenizer(loaded))
        extractor, precision = self._extractor(reference), precision_of(loaded.generator)
        real = real_features(extractor, reference, batch)
        rows: ResultRows = []
        for each in modes:
            with progress_bar(f"sampling: {each}", num) as progress:
                report = measure_mode(loaded, each, real, extractor, num, options, seed, batch, progress)
            self._write_npz(to_uint8(report.sampled.images), report.labels)
            steps = None if adaptive(options) else report.sampled.steps
            common = {"samples": num, "seed": seed, "steps": steps, "mode": each}
            common["settings"] = settings(self.arguments)
            rows += figure_rows(report.figures, extractor, reference, common, precision)
        rows += [row for each in likely for row in likelihood_rows(loaded, each, reference, batch)]
        return rows, reference

    def samples(self, file: str) -> tuple[ResultRows, Reference]:
        """Images that anything has drawn, in ADM's form, against held-out ones."""
        self.reject_options(f"for runs, and {file} is a file of samples", "npz", "likelihood", "codecs")
        reference = self._reference(None, None)
        if len(reference.sample_shape) != 3:
            raise UserError(
                f"{file} holds images, and --data {self.arguments['data']} is of clips; choose other --data"
            )
        images = read_npz(file, reference.sample_shape)
        extractor, batch, seed = self._extractor(reference), self.given("batch", IMAGES_AT_ONCE), self.arguments["seed"]
        real = real_features(extractor, reference, batch)
        classes = reference.classes if bool((images.labels >= 0).all()) else 0
        figures, _ = compare(real, images.pixels, images.labels, extractor, classes, seed, batch)
        common = {"samples": len(images), "seed": seed, "steps": None}
        return figure_rows(figures, extractor, reference, common, ""), reference

    def _require_new_npz(self) -> None:
        if self.arguments["npz"] is not None:
            require_new_file(self.arguments["npz"], "--npz")

    def _write_npz(self, pixels: Tensor, labels: Tensor | None = None) -> None:
        if self.arguments["npz"] is not None:
            print(f"samples written to {write_npz(self.arguments['npz'], pixels, labels)}")

    def _extractor(self, reference: Reference) -> Extractor:
        """The chosen network, or the usual one, and a word on how far it can be trusted."""
        name, weights = self.arguments["extractor"], self.arguments["weights"]
        found = get_image_extractor(name, reference.sample_shape, weights=weights, device=self.device)
        if isinstance(found, Judge):
            print(f"judge: {found.name}, right about {found.accuracy:.1%} of held-out real samples")
        return found

    def _reference(self, saved: Saved | None, tokenizer: Tokenizer | None) -> Reference:
        """The real images; of the size that the tokenizer takes, if there is one."""
        file, data = self.arguments["reference"], self.arguments["data"]
        if file is not None and data is not None:
            raise UserError("--reference and --data both name the real images; leave one out")
        if file is not None:
            return read_reference(file, None if tokenizer is None else tokenizer.sample_shape)
        if data is None and saved is None:
            raise UserError("samples are compared with real images: name these by --data or --reference")
        source = build_source(saved.config) if data is None and saved is not None else open_source(data)
        if tokenizer is not None:
            check_shapes(tokenizer, source.sample_shape)
        return Reference.held_out(source)
