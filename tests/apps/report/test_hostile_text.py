"""A page about runs of others: their texts stay texts, and what is no record of mmgen ends in a line."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmgen.apps.report.report import make_report
from mmgen.core.errors import UserError
from tests.fuzz.mutation import refused
from tests.fuzz.test_results import ROW
from tests.tiny_runs import generator_run, tokenizer_run

HARMFUL = "</title></style><script>alert('x')</script><img src=x onerror=alert(1)>\"'><b>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return generator_run(tmp_path / "a<b onclick=x>", tokenizer_run(tmp_path / "tok"))


def add_samples(run: Path, record: dict[str, Any]) -> None:
    folder = run / "samples" / "<i>one"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "<script>.txt").write_text("x")


def test_texts_of_a_run_are_no_html(run: Path) -> None:
    row = ROW | dict.fromkeys(("command", "data", "mode", "settings", "machine", "commit"), HARMFUL)
    (run / "results.json").write_text(json.dumps([row]))
    add_samples(run, {"mode": "ar", "command": HARMFUL, "samples": 1, "classes": [HARMFUL], "texts": [HARMFUL]})
    (run / "record.json").write_text(json.dumps({"commands": [HARMFUL]}))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["init_args"]["source"]["init_args"]["folder"] = HARMFUL
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    page = make_report([run], f"mmgen report {HARMFUL}", [HARMFUL], [HARMFUL], [HARMFUL])
    for harm in ("<script>alert", "<img src=x", "<b>", "<b onclick", "<i>one"):
        assert harm not in page
    assert page.count("&lt;script&gt;alert") >= 6
    assert page.count("<script>") == page.count("</script>") == 1


@pytest.mark.parametrize(
    "record",
    [{"samples": "many"}, {"mode": ["ar"]}, {"mode": {}}, {"samples": [1]}, {"classes": {"a": 1}, "samples": 1}],
)
def test_what_is_no_record_ends_in_a_line(record: dict[str, Any], run: Path) -> None:
    add_samples(run, record)
    refused(lambda: make_report([run], "", [], [], []), UserError)


@pytest.mark.parametrize("log", ["step,train/loss\n1,x\n", "train/loss\n1\n", "\0,\n1,2\n"])
def test_damaged_logs_end_in_a_line(log: str, run: Path) -> None:
    (run / "logs" / "csv" / "version_0").mkdir(parents=True)
    (run / "logs" / "csv" / "version_0" / "metrics.csv").write_text(log)
    with pytest.raises(UserError, match="damaged"):
        make_report([run], "", [], [], [])
