"""`mmgen serve`: a local page on which a person samples the trained runs."""


def run(folder: str = "runs", *, port: int = 7860, device: str = "auto") -> None:
    """Serve a page on this machine (127.0.0.1) that lists the generators in a folder. A person chooses one, and a mode,
    class, text, seed and options; images, clips and speech are seen and heard while they are made. No sample is
    written to the disk, and nothing is fetched from elsewhere.

    Args:
        folder: that holds runs or exports, itself or in folders of it.
        port: of the address.
        device: cpu, cuda, or auto.
    """
    from mmgen.apps.serve.app import launch
    from mmgen.sampling.samples import pick_device

    launch(folder, port, pick_device(device))
