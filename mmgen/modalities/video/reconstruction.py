"""What `mmgen reconstruct` writes of clips."""

from collections.abc import Sequence

import torch

from mmgen.media.folders import new_folder, unique_names
from mmgen.media.images import comfortable, enlarge
from mmgen.media.video import read_clip, tile_clips, write_mp4
from mmgen.media.video_file import read_header
from mmgen.modalities.video.evaluation.frame_metrics import capped_psnr
from mmgen.tokenizers import Tokenizer, VideoTokenizer


def reconstruct_clips(
    tokenizer: Tokenizer, files: Sequence[str], out: str, fps: float | None = None, frames: int | None = None
) -> None:
    """Encode clips, decode them again, and write each beside its original (left), with the PSNR.

    Args:
        tokenizer: of video, in evaluation mode.
        files: to be read.
        out: folder for the results, made and never written over.
        fps: how many frames a second are taken; by default the file's own number.
        frames: how many are taken from the beginning; by default as many as the tokenizer was trained on.

    Raises:
        UserError: a file cannot be read, or does not fit; then nothing is written.
    """
    assert isinstance(tokenizer, VideoTokenizer)
    channels, trained, *size = tokenizer.sample_shape
    shape = (channels, trained if frames is None else frames, *size)
    spec = tokenizer.spec.with_frames(shape[1])
    rates = [(read_header(file).fps or 25.0) if fps is None else fps for file in files]
    clips = [read_clip(file, shape, rate) for file, rate in zip(files, rates)]
    names = unique_names(files, ".mp4")
    folder = new_folder(out)
    for file, name, clip, rate in zip(files, names, clips, rates, strict=True):
        tokens = tokenizer.encode(clip[None].to(next(tokenizer.parameters()).device))
        decoded = tokenizer.decode(tokens, shape[1])[0].float().cpu()
        pair = torch.stack([clip, decoded])
        write_mp4(tile_clips(enlarge(pair, comfortable(pair)), columns=2), folder / name, rate)
        psnr = capped_psnr(decoded[None], clip[None]).mean().item()
        print(f"{file}: psnr_db {psnr:.2f}, the mean of {shape[1]} frames, {spec.amount} -> {folder / name}")
