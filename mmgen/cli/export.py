"""`mmgen export`: a run as a folder to share."""


def run(path: str, out: str | None = None) -> None:
    """Write config.yaml, model.safetensors and a generator's tokenizer/ into a new folder that needs nothing else.

    Every command that takes a run takes the export too, and `mmgen fit --config OUT/config.yaml` trains the same recipe
    again. The weights are those that sampling uses: the average over training (EMA) where the run kept one.

    Args:
        path: run folder of a tokenizer or a generator.
        out: folder for the export, made and never written over; exports/ and the name of the run by default.
    """
    from pathlib import Path

    from mmgen.store import save_export

    exported = save_export(path, out or Path("exports") / Path(path).resolve().name)
    numbers = sum(value.numel() for value in exported.state.values())
    which = "the average over training (EMA)" if exported.averaged else "as trained (the run kept no average)"
    print(f"{exported.kind} of {path} after {exported.step} steps: {numbers:,} numbers, {which}")
    print(f"written to {exported.path}; trains again with: mmgen fit --config {exported.path / 'config.yaml'}")
