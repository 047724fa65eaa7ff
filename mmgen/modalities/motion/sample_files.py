"""What `mmgen sample` does for a run that makes motions."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.media.images import save_png
from mmgen.media.video import mp4_bytes, write_gif, write_mp4
from mmgen.modalities.motion.drawing import draw_motion, motion_sheet
from mmgen.modalities.motion.files import write_bvh, write_npy
from mmgen.modalities.motion.sampling import require_motion_tokenizer, sample_motion
from mmgen.sampling.options import sample_options
from mmgen.sampling.samples import check_count, check_request, class_labels, pick_mode, tokens_per_forward
from mmgen.sampling.texts import encoded_texts, read_texts
from mmgen.store.store import Loaded


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
        self.texts = self._texts(len(classes) or loaded.generator.classes)
        self.count = len(self.texts)
        self.batch = 16 if arguments["batch"] is None else arguments["batch"]
        check_count(self.count, self.batch)
        self.labels = class_labels(classes, self.count, loaded)
        check_request(loaded, self.labels, self.options, self.batch)
        encoded_texts(loaded, self.texts)
        frames = arguments["frames"]
        self.lengths = None if frames is None else torch.full((self.count,), frames)
        longest = loaded.spec.frames(loaded.spec.grid[0])
        if frames is not None and not 1 <= frames <= longest:
            raise UserError(f"--frames {frames}: {loaded.path} makes motions of 1 to {longest} frames")

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
                batch=self.batch, lengths=self.lengths, progress=progress,
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
