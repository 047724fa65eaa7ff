"""`mmgen tokenize`: a data set as tokens, once."""

from mmgen.core.terminal import print_safely
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint


@takes_checkpoint
def run(
    tokenizer: str,
    *,
    out: str,
    data: str | None = None,
    mirror: bool = False,
    shard_size: int = 8192,
    batch: int = 256,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
) -> None:
    """Encode both splits of a data set into a new folder of safetensors shards with a meta.json.

    A generator then trains on the folder without the tokenizer (data class CachedTokens). The folder is complete when
    it appears; an interrupted one leaves nothing. Samples are encoded as they are, without augmentation.

    Args:
        tokenizer: run folder or export of a tokenizer.
        out: folder for the tokens, made and never written over.
        data: `digits`, `emoji`, `photos`, `moving_digits`, `atari`, `espeak_speech`, `asterisk_prompts`,
            `mocap`, a YAML file with a `data` section, or a run; by default what the tokenizer was trained on.
        mirror: store the mirror image of every training image too.
        shard_size: samples a file, at most.
        batch: images encoded at a time, frames of clips, or seconds of sounds.
        device: cpu, cuda, or auto.
    """
    from mmgen.core.progress import progress_bar
    from mmgen.data.build import open_source
    from mmgen.data.tokenize import write_shards
    from mmgen.sampling.samples import pick_device
    from mmgen.store.store import load_tokenizer

    loaded = load_tokenizer(tokenizer, checkpoint).to(pick_device(device))
    source = open_source(tokenizer if data is None else data)
    total = len(source.samples("train")) * (1 + mirror) + len(source.samples("val"))
    with progress_bar("encoding", total) as progress:
        meta = write_shards(out, source, loaded, tokenizer, shard_size, batch, mirror, progress)
    counts = ", ".join(f"{count} {split}" for split, count in meta.counts().items())
    print_safely(f"{counts} samples of {meta.spec.amount} in {len(meta.shards)} shards -> {out}")
    stored = f"--data.source CachedTokens --data.source.path {out}"
    print_safely(f"train on them with: mmgen fit --config experiments/NAME/config.yaml {stored}")
