"""`mmgen gallery`: one page that leads to those of several demos."""


def run(folders: list[str], *, out: str = "runs/gallery.html") -> None:
    """Write a page with a row for each demo: what it is, its figures, and the way to its own page.

    Args:
        folders: of finished demos, such as runs/demo and runs/demo-video.
        out: file for the page, made and never written over. It leads to the demos where they are now.
    """
    from pathlib import Path

    from mmgen.core.errors import UserError
    from mmgen.page.overview import overview

    path = Path(out)
    if path.exists():
        raise UserError(f"--out {out} exists, and nothing is overwritten; choose another")
    page = overview([Path(folder) for folder in folders], path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}; choose another") from None
    print(f"written to {out}")
