"""What `mmgen evaluate` measures of a tokenizer, a generator, or a file of samples: figures, each with the words that
say how it was measured. Of clips: see `evaluation.rows`; of speech: `evaluation.rows`; of
motions: `mmgen.modalities.motion.evaluation.rows`.
"""

from dataclasses import dataclass

import torch

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.build import build_source, open_source
from mmgen.evaluation.command import (
    IMAGES,
    IMAGES_AT_ONCE,
    OF_PICTURES,
    Call,
    Rows,
    adaptive,
    figure_rows,
    precision_of,
)
from mmgen.evaluation.comparison import BesideMeasuring
from mmgen.evaluation.extractors import Extractor, Judge, get_extractor
from mmgen.evaluation.likelihood_rows import likelihood_rows, modes_with_likelihood
from mmgen.evaluation.measure import check_mode, check_shapes, compare, measure_mode, measure_tokenizer, real_features
from mmgen.evaluation.reference import Reference
from mmgen.media.images import to_uint8
from mmgen.modalities.image.evaluation.image_codecs import PROTOCOL, codec_figures
from mmgen.modalities.image.evaluation.npz import read_npz, write_npz
from mmgen.modalities.motion.evaluation.rows import MotionMeasuring
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.modalities.speech.evaluation.rows import SpeechMeasuring
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.modalities.video.evaluation.rows import VideoMeasuring
from mmgen.sampling.options import SAMPLING, sample_options, settings
from mmgen.sampling.samples import require_tokenizer
from mmgen.store.store import Saved, load_generator, load_tokenizer
from mmgen.tokenizers import Tokenizer

OF_CLIPS = ("context", "frames", "rollout")
"""Options that only concern clips."""

OF_SPEECH = ("wer", "recogniser")
"""Options that only concern speech."""


@dataclass(frozen=True)
class Measuring(Call):
    """One call of the command, on images; what is of clips goes on to `VideoMeasuring`, of speech to
    `SpeechMeasuring`, of motions to `MotionMeasuring`.
    """

    def tokenizer(self, saved: Saved) -> tuple[Rows, Reference]:
        """What a tokenizer keeps of held-out images, clips, speech, or motions.

        Raises:
            UserError: as the parts do, before anything is measured.
        """
        self.refuse(f"for generators, and {saved.path} is a tokenizer", "mode", "seed", "likelihood", *SAMPLING)
        tokenizer = load_tokenizer(saved.path, saved.checkpoint).to(self.device)
        if isinstance(tokenizer, AudioTokenizer):
            self.refuse(f"for clips, and {saved.path} is of speech", *OF_CLIPS)
            return self._speech().tokenizer(saved, tokenizer)
        self.refuse(f"for speech, and {saved.path} is of none", *OF_SPEECH)
        if isinstance(tokenizer, MotionTokenizer):
            self.refuse(f"for clips, and {saved.path} is of motions", *OF_CLIPS)
            return self._motion().tokenizer(saved, tokenizer)
        if _of_clips(tokenizer):
            return self._video().tokenizer(saved, tokenizer)
        self.refuse(f"for generators and for tokenizers of clips, and {saved.path} is neither", "num")
        self.refuse(f"for clips, and {saved.path} is of images", *OF_CLIPS)
        reference = self._reference(saved, tokenizer)
        extractor, batch = self._extractor(reference), self.given("batch", IMAGES_AT_ONCE)
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_tokenizer(tokenizer, reference, extractor, batch, progress)
        if self.arguments["npz"] is not None:
            write_npz(self.arguments["npz"], report.pixels)
        common = {"samples": len(reference), "seed": None, "steps": None}
        rows = figure_rows(report.figures, extractor, reference, common, precision_of(tokenizer))
        if self.arguments["codecs"]:
            originals = torch.cat([to_uint8(each["x"]) for each in reference.batches(batch)])
            with progress_bar("JPEG and WebP", 2) as progress:
                figures = codec_figures(originals, tokenizer.spec.bits_per_sample, progress)
            rows += figure_rows(figures, None, reference, common, "", codecs=PROTOCOL)
        return rows, reference

    def generator(self, saved: Saved) -> tuple[Rows, Reference]:
        """Samples of a generator in each of its modes, or in the chosen one, beside held-out images, clips, speech, or
        motions.

        Raises:
            UserError: as the parts do, before anything is sampled.
        """
        self.refuse(f"for tokenizers, and {saved.path} is a generator", "codecs")
        mode, seed, npz = (self.arguments[name] for name in ("mode", "seed", "npz"))
        num, batch = self.given("num", IMAGES), self.given("batch", IMAGES_AT_ONCE)
        options = sample_options(self.arguments)
        loaded = load_generator(saved.path, saved.checkpoint).to(self.device)
        if loaded.spec.modality == "audio":
            self.refuse(f"for clips, and {saved.path} is of speech", *OF_CLIPS)
            return self._speech().generator(saved, loaded, options)
        self.refuse(f"for speech, and {saved.path} is of none", *OF_SPEECH)
        if loaded.spec.modality == "motion":
            self.refuse(f"for clips, and {saved.path} is of motions", *OF_CLIPS)
            return self._motion().generator(saved, loaded, options)
        if _of_clips(require_tokenizer(loaded)):
            return self._video().generator(saved, loaded, options)
        self.refuse(f"for clips, and {saved.path} is of images", *OF_CLIPS)
        modes = list(loaded.paradigm.modes()) if mode is None else [mode]
        for each in modes:
            check_mode(loaded, each, num, options, batch)
        if npz is not None and len(modes) > 1:
            raise UserError(f"--npz holds the samples of one mode: choose --mode {' or '.join(modes)}")
        likely = modes_with_likelihood(loaded, modes, self.arguments["likelihood"])
        reference = self._reference(saved, require_tokenizer(loaded))
        extractor, precision = self._extractor(reference), precision_of(loaded.generator)
        real = real_features(extractor, reference, batch)
        rows: Rows = []
        for each in modes:
            with progress_bar(f"sampling: {each}", num) as progress:
                report = measure_mode(loaded, each, real, extractor, num, options, seed, batch, progress)
            if npz is not None:
                write_npz(npz, to_uint8(report.sampled.images), report.labels)
            steps = None if adaptive(options) else report.sampled.steps
            common = {"samples": num, "seed": seed, "steps": steps, "mode": each}
            common["settings"] = settings(self.arguments)
            rows += figure_rows(report.figures, extractor, reference, common, precision)
        rows += [row for each in likely for row in likelihood_rows(loaded, each, reference, batch)]
        return rows, reference

    def beside(self, saved: Saved) -> tuple[Rows, Reference]:
        """Held-out losses of a generator and of the one named by `beside`, of any modality.

        Raises:
            UserError: as the parts do, before anything is measured.
        """
        other = Saved.read(self.arguments["beside"], "generator", checkpoint=saved.checkpoint)
        if saved.kind != "generator":
            raise UserError(f"--beside compares generators, and {saved.path} is a {saved.kind}; leave it out")
        taken = ("num", "seed", "data", *OF_PICTURES, *OF_CLIPS, *OF_SPEECH, *SAMPLING)
        self.refuse("for what is sampled or decoded, and --beside measures losses on the run's own data", *taken)
        return BesideMeasuring(self.arguments, self.unset, self.device).generators(saved, other)

    def samples(self, file: str) -> tuple[Rows, Reference]:
        """Images that something else has drawn, in ADM's form, beside held-out ones.

        Raises:
            UserError: as the parts do, before anything is measured.
        """
        taken = ("mode", "num", "npz", "likelihood", "codecs", "beside", *OF_CLIPS, *OF_SPEECH, *SAMPLING)
        self.refuse(f"for runs, and {file} is a file of samples", *taken)
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

    def _video(self) -> VideoMeasuring:
        return VideoMeasuring(self.arguments, self.unset, self.device)

    def _speech(self) -> SpeechMeasuring:
        return SpeechMeasuring(self.arguments, self.unset, self.device)

    def _motion(self) -> MotionMeasuring:
        return MotionMeasuring(self.arguments, self.unset, self.device)

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


def _of_clips(tokenizer: Tokenizer) -> bool:
    return len(tokenizer.sample_shape) == 4
