"""What `mmgen sample` does for a run that makes motions."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mmgen.core.errors import UserError, nearest
from mmgen.core.progress import progress_bar
from mmgen.data.build import build_source
from mmgen.data.held_out import all_over
from mmgen.data.sources import SplitName
from mmgen.evaluation.reference import Chosen
from mmgen.media.images import save_png
from mmgen.media.video import mp4_bytes, write_gif, write_mp4
from mmgen.modalities.motion.drawing import draw_motion, motion_sheet
from mmgen.modalities.motion.evaluation.generator import Real
from mmgen.modalities.motion.evaluation.inbetween import Gaps, with_straight_lines
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.files import write_bvh, write_npy
from mmgen.modalities.motion.sampling import require_motion_tokenizer, sample_motion
from mmgen.sampling.options import sample_options
from mmgen.sampling.samples import check_count, check_request, class_labels, pick_mode, tokens_per_forward
from mmgen.sampling.texts import read_texts, text_values
from mmgen.store.store import Loaded

SPLITS: dict[str, SplitName] = {"held_out": "val", "train": "train"}
"""Motions of the data -> split."""


class MotionSampling:
    """Motions that are asked for, then made, then written.

    Args:
        loaded: the run.
        arguments: of the command.

    Raises:
        UserError: something that is asked for cannot be done.
    """

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        self.loaded, self.arguments, self.options = loaded, arguments, sample_options(arguments)
        self.tokenizer = require_motion_tokenizer(loaded)
        pick_mode(loaded, arguments["mode"])
        mp4_bytes(torch.zeros(1, 1, 2, 2), self.tokenizer.fps)  # whether it can be written, before the work
        named = arguments["class_"]
        classes = [name.strip() for name in named.split(",")] if named else []
        self.gaps = None if arguments["inpaint"] is None else self._gaps(arguments["inpaint"])
        self.texts = self._texts(len(classes) or loaded.generator.classes) if self.gaps is None else self._gap_texts()
        self.count = len(self.texts)
        self.batch = 16 if arguments["batch"] is None else arguments["batch"]
        check_count(self.count, self.batch)
        self.labels = class_labels(classes, self.count, loaded) if self.gaps is None else self.gaps.real.labels
        check_request(loaded, self.labels, self.options, self.batch)
        text_values(loaded, self.texts)
        frames = arguments["frames"]
        if self.gaps is not None and (frames is not None or classes or arguments["text"]):
            raise UserError("--inpaint takes the lengths, classes and texts of its motions: leave out those options")
        self.lengths = None if frames is None else torch.full((self.count,), frames)
        if self.gaps is not None:
            self.lengths = self.gaps.real.lengths
        longest = loaded.spec.frames(loaded.spec.grid[0])
        if frames is not None and not 1 <= frames <= longest:
            raise UserError(f"--frames {frames}: {loaded.path} makes motions of 1 to {longest} frames")

    def _gaps(self, split: str) -> Gaps:
        """Motions of the run's data, and which part of each is made anew."""
        if split not in SPLITS:
            raise UserError(f"--inpaint {split} is none of {', '.join(SPLITS)}{nearest(split, SPLITS)}")
        source = build_source(self.loaded.config)
        samples = source.samples(SPLITS[split])
        num = 8 if self.arguments["num"] is None else self.arguments["num"]
        check_count(num, num)
        chosen = Chosen(samples, all_over(len(samples), min(num, len(samples))))
        gaps = Gaps.of(Real.of(self.loaded, source, chosen), self.loaded.spec)
        if not len(gaps):
            raise UserError(f"no motion of {split} is long enough for a gap of its middle third")
        return gaps

    def _gap_texts(self) -> list[str]:
        assert self.gaps is not None
        return self.gaps.real.texts or [""] * len(self.gaps)

    def _known(self) -> dict[str, Any]:
        """What a gap leaves of each motion, for the sampler."""
        if self.gaps is None:
            return {}
        device = self.loaded.generator.device
        known = torch.cat(
            [self.tokenizer.encode(x.to(device)).values.cpu() for x in self.gaps.real.x.split(self.batch)]
        )
        return {"known": known, "keep": self.gaps.keep(known.shape[1])}

    def _between(self, folder: Path) -> dict[str, Any]:
        """Write the recordings of motions whose gaps were filled; what is to be recorded of them."""
        gaps, stride = self.gaps, self.loaded.spec.stride
        if gaps is None:
            return {}
        real = [features_to_joints(motion.mT) for motion in gaps.real.motions]
        spans = [(stride * start, stride * stop) for start, stop in zip(gaps.start.tolist(), gaps.stop.tolist())]
        for number, joints in enumerate(real):
            write_npy(joints, folder / f"{number:0{max(3, len(str(self.count - 1)))}d}.real.npy")
        straight = [with_straight_lines(joints, *span) for joints, span in zip(real, spans)]
        made = [joints.float().cpu() for joints in self.moved.joints]
        errors = {"inbetween_mm": gaps.error_mm(made), "inbetween_linear_mm": gaps.error_mm(straight)}
        return {"inpaint": self.arguments["inpaint"], "gaps": spans} | errors

    def _texts(self, classes: int) -> list[str]:
        """What each sample shows: the texts in turn, as often as there are samples; empty where classes tell it."""
        given, reads, wanted = self.arguments["text"], self.loaded.generator.text, self.arguments["num"]
        if given and reads is None:
            raise UserError(f"{self.loaded.path} was trained without texts: name a --class, and leave --text out")
        if not given and reads is not None:
            raise UserError(
                f"{self.loaded.path} does what it is told: give --text, in characters of {reads.alphabet!r}"
            )
        texts = read_texts(given) if given else [""]
        count = max(len(texts), classes if not given else 1, 1) if wanted is None else wanted
        return [texts[number % len(texts)] for number in range(count)]

    def draw(self) -> None:
        """Run the sampler."""
        texts = self.texts if self.loaded.generator.text is not None else None
        with progress_bar("moving", self.count) as progress:
            self.moved = sample_motion(
                self.loaded, self.arguments["mode"], self.labels, texts, self.options, self.arguments["seed"],
                batch=self.batch, lengths=self.lengths, progress=progress, **self._known(),
            )  # fmt: skip

    def write(self, folder: Path) -> dict[str, Any]:
        """All files but the record; returns what is to be recorded."""
        moved, names = self.moved, self.loaded.facts.class_names
        classes = [names[label] if 0 <= label < len(names) else None for label in self.labels.tolist()]
        told = [text or name or f"sample {number}" for number, (text, name) in enumerate(zip(self.texts, classes))]
        for number, joints in enumerate(moved.joints):
            stem = folder / f"{number:0{max(3, len(str(self.count - 1)))}d}"
            clip = draw_motion(joints)
            write_npy(joints, stem.with_suffix(".npy"))
            write_bvh(joints, stem.with_suffix(".bvh"), moved.fps)
            write_gif(clip, stem.with_suffix(".gif"), moved.fps)
            write_mp4(clip, stem.with_suffix(".mp4"), moved.fps)
        save_png(motion_sheet(moved.joints, told), folder / "grid.png")
        save_file(
            {"tokens": moved.tokens, "lengths": moved.lengths, "labels": self.labels}, folder / "samples.safetensors"
        )
        return {
            "samples": self.count,
            "texts": self.texts if self.loaded.generator.text is not None else None,
            "classes": classes,
            "fps": moved.fps,
            **self._between(folder),
            "frames": moved.lengths.tolist(),
            "steps": moved.steps,
            "forward_passes": moved.forward_passes,
            "tokens_per_forward": round(
                tokens_per_forward(moved.lengths / self.loaded.spec.stride, moved.forward_passes), 4
            ),
            "seconds": round(moved.seconds, 3),
            "seconds_per_sample": round(moved.seconds / self.count, 5),
            "real_time_factor": round(moved.seconds / moved.moved_seconds, 5),
        }
