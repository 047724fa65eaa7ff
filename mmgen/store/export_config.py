"""The config of an export, which is for others: what its model and its data are, and nothing of the machine."""

import os
import re
from pathlib import Path
from typing import Any

_ABSOLUTE = re.compile(r"(?:file://)?(?:[/\\]|~|[A-Za-z]:[/\\]).+")
_NEEDED = "encoder"  # of texts: sampling reads it


def export_config(config: dict[str, Any], tokenizer: Path | None) -> tuple[dict[str, Any], list[str]]:
    """The config of a run as its export has it, and the keys of paths that were shortened.

    Trainer, loggers and callbacks stay behind, and with them accounts and passwords. Of absolute paths that are not
    below the working directory the last part is left. The folder of an encoder of texts stays as it is.

    Args:
        config: of the run.
        tokenizer: of a generator, in the export.
    """
    shortened: list[str] = []

    def shared(tree: Any, key: str) -> Any:
        if isinstance(tree, dict):
            return {name: shared(value, f"{key}.{name}".removeprefix(".")) for name, value in tree.items()}
        if isinstance(tree, list):
            return [shared(value, key) for value in tree]
        if not isinstance(tree, str) or key.endswith(f".{_NEEDED}") or not _ABSOLUTE.fullmatch(tree):
            return tree
        path = Path(tree)
        if path.is_absolute() and path.is_relative_to(Path.cwd()):
            return str(path.relative_to(Path.cwd()))
        shortened.append(key)
        return re.split(r"[/\\]", tree.rstrip("/\\"))[-1]

    # A seed is of the data too: what is held out follows from it.
    content = {key: config[key] for key in ("seed_everything", "model", "data") if config.get(key)}
    data = (content.get("data") or {}).get("init_args") or {}
    if tokenizer is not None and data.get("tokenizer") is not None:
        content["data"] = content["data"] | {"init_args": data | {"tokenizer": os.path.relpath(tokenizer)}}
    return shared(content, ""), [key.replace(".init_args", "") for key in shortened]
