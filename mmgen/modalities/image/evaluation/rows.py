"""What `mmgen evaluate` measures of images: a tokenizer's reconstructions, and how real a generator's samples look."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.core.terminal import print_safely
from mmgen.data.build import open_source
from mmgen.evaluation.command import EvaluationCommand, ModeSampling, Rows, metric_rows
from mmgen.evaluation.extractors import Extractor, Judge, real_features
from mmgen.evaluation.likelihood import likelihood_rows, modes_with_likelihood
from mmgen.evaluation.reference import Reference
from mmgen.media.folders import require_new_file
from mmgen.media.images import to_uint8
from mmgen.modalities.image.evaluation.extractors import get_image_extractor
from mmgen.modalities.image.evaluation.image_codecs import PROTOCOL, codec_metrics
from mmgen.modalities.image.evaluation.measure import (
    check_shapes,
    compare,
    measure_mode,
    measure_tokenizer,
    mode_task,
)
from mmgen.modalities.image.evaluation.npz import read_npz, read_reference, write_npz
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import class_labels, require_tokenizer
from mmgen.store.store import Loaded, Saved
from mmgen.tokenizers import Tokenizer


@dataclass(frozen=True)
class ImageEvaluation(EvaluationCommand):
    """One call of the command, on images."""

    default_num, default_batch = 1000, 100

    def tokenizer(self, saved: Saved, tokenizer: Tokenizer) -> tuple[Rows, Reference]:
        self.reject_options(f"for generators and for tokenizers of other samples, and {saved.path} is neither", "num")
        self.reject_options(f"for generators, and {saved.path} is a tokenizer", "likelihood")
        self._require_new_npz()
        reference = self._reference(saved, tokenizer)
        extractor = self._extractor(reference)
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_tokenizer(tokenizer, reference, extractor, self.batch, progress)
        self._write_npz(report.samples)
        rows = self.rows(report.metrics, reference, tokenizer, len(reference))
        if self.arguments["codecs"]:
            originals = torch.cat([to_uint8(each["x"]) for each in reference.batches(self.batch)])
            with progress_bar("JPEG and WebP", 2) as progress:
                metrics = codec_metrics(originals, tokenizer.spec.bits_per_sample, progress)
            how = {"codecs": PROTOCOL}
            rows += metric_rows(metrics, reference, None, self.measured, how, samples=len(reference))
        return rows, reference

    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[Rows, Reference]:
        self.reject_options(f"for tokenizers, and {saved.path} is a generator", "codecs")
        num, modes = self.option("num", self.default_num), self.modes(loaded)
        for mode in modes:
            mode_task(ModeSampling(loaded, mode, options, self.seed, self.batch), num)
        self._require_new_npz()
        if self.arguments["npz"] is not None and len(modes) > 1:
            raise UserError(f"--npz holds the samples of one mode: choose --mode {' or '.join(modes)}")
        likely = modes_with_likelihood(loaded, modes, self.arguments["likelihood"])
        reference = self._reference(saved, require_tokenizer(loaded))
        extractor = self._extractor(reference)
        real = real_features(extractor, reference, self.batch)
        rows: Rows = []
        for mode in modes:
            with self.sampling("sampling", num, loaded, mode, options) as sampling:
                report = measure_mode(sampling, real, extractor, num)
            self._write_npz(to_uint8(report.samples.images), class_labels([], num, loaded))
            rows += self.mode_rows(sampling, report, reference, num)
        return rows + likelihood_rows(loaded, likely, reference, self.batch), reference

    def samples(self, file: str) -> tuple[Rows, Reference]:
        """Metrics of images in ADM's form, against held-out ones."""
        self.reject_options(f"for runs, and {file} is a file of samples", "npz", "likelihood", "codecs")
        reference = self._reference(None, None)
        if len(reference.sample_shape) != 3:
            raise UserError(
                f"{file} holds images, and --data {self.arguments['data']} is of clips; choose other --data"
            )
        images = read_npz(file, reference.sample_shape)
        extractor = self._extractor(reference)
        real = real_features(extractor, reference, self.batch)
        classes = reference.classes if bool((images.labels >= 0).all()) else 0
        metrics = compare(real, images.values, images.labels, extractor, classes, self.seed, self.batch)
        return metric_rows(metrics, reference, None, self.measured, samples=len(images), seed=self.seed), reference

    def _require_new_npz(self) -> None:
        if self.arguments["npz"] is not None:
            require_new_file(self.arguments["npz"], "--npz")

    def _write_npz(self, pixels: Tensor, labels: Tensor | None = None) -> None:
        if self.arguments["npz"] is not None:
            print_safely(f"samples written to {write_npz(self.arguments['npz'], pixels, labels)}")

    def _extractor(self, reference: Reference) -> Extractor:
        """The chosen extractor, or the default one; the accuracy of a judge is printed."""
        name, weights = self.arguments["extractor"], self.arguments["weights"]
        extractor = get_image_extractor(name, reference.sample_shape, weights, self.device)
        if isinstance(extractor, Judge):
            print_safely(f"judge: {extractor.name}, right about {extractor.accuracy:.1%} of held-out real samples")
        return extractor

    def _reference(self, saved: Saved | None, tokenizer: Tokenizer | None) -> Reference:
        """The real images; of the size that the tokenizer takes, if there is one."""
        file, data = self.arguments["reference"], self.arguments["data"]
        if file is not None and data is not None:
            raise UserError("--reference and --data both name the real images; leave one out")
        if file is not None:
            return read_reference(file, None if tokenizer is None else tokenizer.sample_shape)
        if data is None and saved is None:
            raise UserError("samples are compared with real images: name these by --data or --reference")
        source = open_source(data) if saved is None else self.source(saved)
        if tokenizer is not None:
            check_shapes(tokenizer, source.sample_shape)
        return Reference.held_out(source)


COMMAND = ImageEvaluation
