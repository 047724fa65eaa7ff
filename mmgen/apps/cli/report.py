"""`mmgen report`: a page about one run, or several side by side."""

from mmgen.core.terminal import print_safely


def run(
    runs: list[str],
    *,
    out: str | None = None,
    title: list[str] | None = None,
    lead: list[str] | None = None,
    note: list[str] | None = None,
) -> None:
    """Write one self-contained HTML page about runs: what they are, their masks, curves, samples, reconstructions and
    figures, and the commands that made them. It is made of what lies in the run folders alone: nothing is sampled or
    measured. Runs of one modality stand side by side; those of several modalities have a chapter each.

    Args:
        runs: run folders, exports, or RUN/MEMBER; a joint run stands for all of its members. Name a generator's
            tokenizer too, to see its reconstructions.
        out: file for the page, written over if it is there; by default report.html in the folder of a single run, and
            runs/report.html for several.
        title: of the page, and again for each further chapter; the names of the runs by default.
        lead: its first sentences, and again for each further chapter; what the runs are by default.
        note: a sentence below them, and again for each further one.
    """
    import shlex
    from pathlib import Path

    from mmgen.apps.report.report import make_report
    from mmgen.store.results import write_text

    default = Path(runs[0] if len(runs) == 1 else "runs") / "report.html"
    command = shlex.join(["mmgen", "report", *runs, *(() if out is None else ("--out", out))])
    file = default if out is None else Path(out)
    write_text(file, make_report([Path(run) for run in runs], command, title or (), lead or (), note or ()))
    print_safely(f"written to {file}")
