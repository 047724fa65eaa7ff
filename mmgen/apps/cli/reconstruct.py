"""`mmgen reconstruct`: what a tokenizer keeps of an image, a video, a sound or a motion."""

import math
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint

if TYPE_CHECKING:
    from mmgen.tokenizers import Tokenizer


@takes_checkpoint
def run(
    tokenizer: str,
    files: list[str],
    out: str = "reconstructions",
    resize: bool = False,
    fps: float | None = None,
    frames: int | None = None,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
) -> None:
    """Encode images or videos, decode them again, and write each beside its original (left: original), with the PSNR.
    Of sounds, write what is decoded as WAV, and as PNG the spectrogram of the original above that of the decoded one.
    Of motions, write the decoded joints as .npy, and as GIF the original (left) beside them.

    Args:
        tokenizer: run folder or export of a tokenizer, of images, of clips, of sounds or of motions.
        files: images of the size that the tokenizer was trained for; or videos, of which the centre is taken in that
            size; or sounds of any length, rate and number of channels; or motions of any length, as .npy or BVH.
        out: folder for the results, made and never written over.
        resize: fit images of another size instead of refusing them.
        fps: of videos, how many frames a second are taken; by default the file's own number.
        frames: of videos, how many are taken from the beginning; by default as many as the tokenizer was trained on.
        device: cpu, cuda, or auto.
    """
    from mmgen.core.errors import UserError
    from mmgen.sampling.samples import pick_device
    from mmgen.store.store import load_tokenizer

    loaded = load_tokenizer(tokenizer, checkpoint).to(pick_device(device))
    codes = {"video": "videos", "audio": "sounds", "motion": "motions"}.get(loaded.spec.modality, "images")
    if codes == "videos":
        _videos(loaded, files, out, fps, frames)
    elif fps is not None or frames is not None:
        raise UserError(f"--fps and --frames are for videos, and tokenizer {tokenizer} codes {codes}; leave them out")
    elif codes == "sounds":
        _sounds(loaded, files, out)
    elif codes == "motions":
        _motions(loaded, files, out)
    else:
        _images(loaded, files, out, resize)


def _images(loaded: "Tokenizer", files: list[str], out: str, resize: bool) -> None:
    import torch

    from mmgen.media.folders import new_folder
    from mmgen.media.images import comfortable, enlarge, grid, read_image, save_png, to_uint8

    images = [
        read_image(file, loaded.sample_shape, resize) for file in files
    ]  # all are read before anything is written
    names = unique_names(files, ".png")
    folder = new_folder(out)
    for file, name, image in zip(files, names, images, strict=True):
        tokens = loaded.encode(image[None].to(next(loaded.parameters()).device))
        decoded = loaded.decode(tokens)[0].float().cpu()
        pair = torch.stack([image, decoded])
        save_png(grid(enlarge(pair, comfortable(pair)), columns=2), folder / name)
        error = (to_uint8(image).double() - to_uint8(decoded).double()).square().mean().item()
        psnr = 10 * math.log10(255**2 / error) if error else math.inf
        print(f"{file}: psnr_db {psnr:.2f}, {loaded.spec.amount} -> {folder / name}")


def _videos(loaded: "Tokenizer", files: list[str], out: str, fps: float | None, frames: int | None) -> None:
    import torch

    from mmgen.media.folders import new_folder
    from mmgen.media.images import comfortable, enlarge
    from mmgen.media.video import read_clip, tile_clips, write_mp4
    from mmgen.media.video_file import read_header
    from mmgen.modalities.video.evaluation.frame_metrics import capped_psnr
    from mmgen.tokenizers import VideoTokenizer

    assert isinstance(loaded, VideoTokenizer)
    channels, trained, *size = loaded.sample_shape
    shape = (channels, trained if frames is None else frames, *size)
    spec = loaded.spec.with_frames(shape[1])
    rates = [(read_header(file).fps or 25.0) if fps is None else fps for file in files]
    clips = [read_clip(file, shape, rate) for file, rate in zip(files, rates)]
    names = unique_names(files, ".mp4")
    folder = new_folder(out)
    for file, name, clip, rate in zip(files, names, clips, rates, strict=True):
        tokens = loaded.encode(clip[None].to(next(loaded.parameters()).device))
        decoded = loaded.decode(tokens, shape[1])[0].float().cpu()
        pair = torch.stack([clip, decoded])
        write_mp4(tile_clips(enlarge(pair, comfortable(pair)), columns=2), folder / name, rate)
        psnr = capped_psnr(decoded[None], clip[None]).mean().item()
        print(f"{file}: psnr_db {psnr:.2f}, the mean of {shape[1]} frames, {spec.amount} -> {folder / name}")


def _sounds(loaded: "Tokenizer", files: list[str], out: str) -> None:
    from mmgen.media.audio import write_wav
    from mmgen.media.folders import new_folder
    from mmgen.media.images import save_png
    from mmgen.media.spectrogram import mel_distance_db, spectrogram_sheet
    from mmgen.modalities.speech.input_files import open_sound
    from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer

    assert isinstance(loaded, AudioTokenizer)
    rate = loaded.sample_rate
    sounds = [open_sound(file, rate) for file in files]  # all are read before anything is written
    names = unique_names(files, ".wav")
    folder = new_folder(out)
    for file, name, sound in zip(files, names, sounds, strict=True):
        count = sound.shape[1]
        tokens = loaded.encode(sound[None].to(next(loaded.parameters()).device))
        decoded = loaded.decode(tokens, count)[0].float().cpu()
        write_wav(decoded, folder / name, rate)
        amount, picture = loaded.spec.with_frames(count).amount, folder / f"{Path(name).stem}.png"
        save_png(spectrogram_sheet([sound, decoded], rate, ["original", f"decoded from {amount}"], 1), picture)
        distance = mel_distance_db(sound, decoded, rate)
        print(f"{file}: mel_distance_db {distance:.2f}, {count / rate:.2f} s, {amount} -> {folder / name}, {picture}")


def _motions(loaded: "Tokenizer", files: list[str], out: str) -> None:
    import torch

    from mmgen.media.folders import new_folder
    from mmgen.media.video import write_gif
    from mmgen.modalities.motion.distance import position_errors
    from mmgen.modalities.motion.drawing import draw_motion
    from mmgen.modalities.motion.features import features_to_joints
    from mmgen.modalities.motion.files import write_npy
    from mmgen.modalities.motion.input_files import open_motion
    from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer

    assert isinstance(loaded, MotionTokenizer)
    motions = [open_motion(file, loaded.skeleton, loaded.fps) for file in files]  # all are read before one is written
    names = unique_names(files, ".npy")
    folder = new_folder(out)
    for file, name, motion in zip(files, names, motions, strict=True):
        frames = motion.shape[1]
        tokens = loaded.encode(motion[None].to(next(loaded.parameters()).device))
        decoded = loaded.decode(tokens, frames)[0].float().cpu()
        pair, moving = features_to_joints(torch.stack([motion, decoded]).mT), folder / f"{Path(name).stem}.gif"
        write_npy(pair[1], folder / name)
        write_gif(draw_motion(pair), moving, loaded.fps)
        errors = position_errors(decoded[None], motion[None])
        told = ", ".join(f"{metric} {error.item():.1f}" for metric, error in errors.items())
        amount = loaded.spec.with_frames(frames).amount
        print(f"{file}: {told}, {frames / loaded.fps:.2f} s, {amount} -> {folder / name}, {moving}")


def unique_names(files: list[str], suffix: str) -> list[str]:
    """A name for each file's result: its own stem and the suffix, with a number where two share it."""
    names: list[str] = []
    for stem in (Path(file).stem for file in files):
        numbered = (f"{stem}-{number}{suffix}" for number in count(2))
        names.append(next(name for name in chain([f"{stem}{suffix}"], numbered) if name not in names))
    return names
