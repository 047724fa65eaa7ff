"""`mmgen bench`: our speed and memory next to those of other packages, and to what the machine could do."""

import json
import sys

from mmgen.core.terminal import print_safely


def run(
    name: str | None = None,
    list_: bool = False,
    json_: bool = False,
    runs: int = 7,
    device: str = "cpu",
    threads: int | None = None,
    tiny: bool = False,
) -> None:
    """Run one benchmark, or all of them.

    Args:
        name: of the benchmark; all of them by default.
        list_: name the benchmarks and run none.
        json_: one JSON object a line, as in `mmgen.tools.bench.Result`, instead of a table.
        runs: rounds that count; a figure is a median over them, so that fewer than 7 say little.
        device: cpu, cuda or auto.
        threads: of a CPU; as many as torch takes by default.
        tiny: the smallest sizes, to see that all runs; such figures say nothing.
    """
    import torch

    from mmgen.sampling.samples import pick_device
    from mmgen.tools.bench.benchmark import Conditions, catalogue, get_benchmark

    chosen = catalogue() if name is None else {name: get_benchmark(name)}
    if list_:
        width = max(map(len, chosen))
        for each in chosen.values():
            needs = "".join(f" (needs {package})" for package in each.missing())
            print_safely(f"{each.name:<{width}}  {each.sentence}{needs}")
        return
    if threads is not None:
        torch.set_num_threads(threads)
    conditions = Conditions(pick_device(device), 1 if tiny else runs, tiny)
    for each in chosen.values():
        if missing := each.missing():
            note = f"{each.name}: skipped, it needs {', '.join(missing)}: pip install 'mmgen[bench]'"
            print_safely(note, file=sys.stderr if json_ else sys.stdout, flush=True)
            continue
        if not json_:
            print_safely(f"{each.name}: {each.sentence} ({conditions.device_name})", flush=True)
        for result in each.run(conditions):
            print_safely(json.dumps(result.to_dict()) if json_ else result, flush=True)
