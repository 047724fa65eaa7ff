"""Sampling loads no package that it does not need: each takes seconds to import, which everyone waits for who types a
command.
"""

import subprocess
import sys
from pathlib import Path

from tests.tiny_runs import generator_run, tokenizer_run

SLOW = "torch._dynamo", "torch._inductor", "lightning", "diffusers", "torchvision", "torchaudio", "transformers"
NAMED = f"print(*sorted(set({SLOW}) & set(sys.modules)), 'loaded')"
PACKAGES = "mmgen.model.backbone, mmgen.model.generator, mmgen.paradigms, mmgen.store.store, mmgen.sampling.samples"


def loaded(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", f"import sys; {code}; {NAMED}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_what_sampling_imports() -> None:
    assert loaded(f"import {PACKAGES}") == "loaded"


def test_a_sampling_command(tmp_path: Path) -> None:
    run = generator_run(tmp_path / "generator", tokenizer_run(tmp_path / "tokenizer"))
    arguments = ["mmgen", "sample", str(run), "--num", "1", "--mode", "ar"]
    assert loaded(f"sys.argv = {arguments}; from mmgen.apps.cli.main import main; main()") == "loaded"
