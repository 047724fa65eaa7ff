"""What `mmgen sample` does for a run that makes motions."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mmgen.core.errors import UserError, nearest
from mmgen.data.build import trained_source
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
from mmgen.modalities.motion.sampling import MotionSamples, require_motion_tokenizer, sample_motion
from mmgen.sampling.command import SamplingCommand
from mmgen.sampling.samples import check_count, text_condition
from mmgen.store.store import Loaded

SPLITS: dict[str, SplitName] = {"held_out": "val", "train": "train"}
"""Motions of the data -> split."""


class MotionSampling(SamplingCommand):
    """Motions: an NPY of the joints, a BVH, a GIF and an MP4 each, and poses in grid.png."""

    modality = "motion"
    digits = 3
    samples: MotionSamples

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        super().__init__(loaded, arguments)
        mp4_bytes(torch.zeros(1, 1, 2, 2), require_motion_tokenizer(loaded).fps)  # whether it can be written
        reads, frames = text_condition(loaded) is not None, arguments["frames"]
        self.gaps = None if arguments["inpaint"] is None else self._gaps(arguments["inpaint"])
        if self.gaps is None:
            texts = self.texts_in_turn(len(loaded.generator.names("class")) or 1)
            lengths = None if frames is None else torch.full((len(texts),), frames)
            self.task = self.make_task(len(texts), texts, lengths=lengths)
            self.texts = texts if reads else None
            return
        if frames is not None or self.classes or arguments["text"]:
            raise UserError("--inpaint takes the lengths, classes and texts of its motions: leave out those options")
        real = self.gaps.real
        device, batch = loaded.generator.device, arguments["batch"] or self.batch
        known = torch.cat([self.tokenizer.encode(x.to(device)).values.cpu() for x in real.x.split(batch)])
        keep = self.gaps.keep(known.shape[1])
        self.task = self.make_task(
            len(real), real.texts, real.labels, known=known, keep=keep, lengths=real.lengths
        )  # fmt: skip
        self.texts = real.texts

    def _gaps(self, split: str) -> Gaps:
        """Motions of the run's data, and which part of each is made anew."""
        if split not in SPLITS:
            raise UserError(f"--inpaint {split} is none of {', '.join(SPLITS)}{nearest(split, SPLITS)}")
        loaded = self.loaded
        source = trained_source(loaded.config, loaded.facts.to_dict(), str(loaded.path))
        samples = source.samples(SPLITS[split])
        num = 8 if self.arguments["num"] is None else self.arguments["num"]
        check_count(num, num)
        chosen = Chosen(samples, all_over(len(samples), min(num, len(samples))))
        gaps = Gaps.of(Real.of(self.loaded, source, chosen), self.loaded.spec)
        if not len(gaps):
            raise UserError(f"no motion of {split} is long enough for a gap of its middle third")
        return gaps

    def _write_recordings(self, folder: Path) -> dict[str, Any]:
        """Write the recordings of motions whose gaps were filled; what is to be recorded of them."""
        gaps, stride = self.gaps, self.loaded.spec.stride
        if gaps is None:
            return {}
        real = [features_to_joints(motion.mT) for motion in gaps.real.motions]
        spans = [(stride * start, stride * stop) for start, stop in zip(gaps.start.tolist(), gaps.stop.tolist())]
        for number, joints in enumerate(real):
            write_npy(joints, self.file(folder, number, ".real.npy"))
        straight = [with_straight_lines(joints, *span) for joints, span in zip(real, spans)]
        made = [joints.float().cpu() for joints in self.samples.joints]
        errors = {"inbetween_mm": gaps.error_mm(made), "inbetween_linear_mm": gaps.error_mm(straight)}
        return {"inpaint": self.arguments["inpaint"], "gaps": spans} | errors

    def sample(self) -> MotionSamples:
        return sample_motion(self.task)

    def write(self, folder: Path) -> dict[str, Any]:
        samples, classes, texts = self.samples, self.class_names(), self.texts or [""] * self.task.count
        titles = [text or name or f"sample {number}" for number, (text, name) in enumerate(zip(texts, classes))]
        for number, joints in enumerate(samples.joints):
            clip = draw_motion(joints)
            write_npy(joints, self.file(folder, number, ".npy"))
            write_bvh(joints, self.file(folder, number, ".bvh"), samples.fps)
            write_gif(clip, self.file(folder, number, ".gif"), samples.fps)
            write_mp4(clip, self.file(folder, number, ".mp4"), samples.fps)
        save_png(motion_sheet(samples.joints, titles), folder / "grid.png")
        tensors = {"tokens": samples.tokens, "lengths": samples.frames, "labels": self.labels}
        save_file(tensors, folder / "samples.safetensors")
        return {
            "samples": self.task.count,
            "texts": self.texts,
            "classes": classes,
            "fps": samples.fps,
            **self._write_recordings(folder),
            "frames": samples.frames.tolist(),
            **samples.record(),
            "real_time_factor": round(samples.seconds * samples.fps / int(samples.frames.sum()), 5),
        }


COMMAND = MotionSampling
