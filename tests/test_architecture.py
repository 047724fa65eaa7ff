"""The architecture: imports go down one list of packages, the engine names no modality, files are small."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "mmgen"
ORDER = (
    "core", "model", "paradigms", "media", "tokenizers", "store", "data", "sampling", "training", "evaluation", "page",
    "modalities", "tools", "apps",
)  # fmt: skip
LONGEST = 400  # lines
FILE_KINDS = ("data/sources/scan.py",)  # whose words are kinds of files, some of which are called as a modality is

Edges = dict[str, set[str]]
"""File -> files that it imports, as posix paths below the root."""


def imports(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """(module, name) of each import, lazy ones and those for type checkers included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, None) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", each.name) for each in node.names)


def edges(root: Path) -> Edges:
    """Who imports whom within a package."""
    files = {_module(path, root): path.relative_to(root).as_posix() for path in root.rglob("*.py")}
    found: Edges = {name: set() for name in files.values()}
    for path in root.rglob("*.py"):
        own = path.relative_to(root).as_posix()
        for module, name in imports(ast.parse(path.read_text())):
            target = files.get(f"{module}.{name}") or files.get(module)
            if target is not None and target != own:
                found[own].add(target)
    return found


def faults(root: Path, order: tuple[str, ...] = ORDER) -> list[str]:
    """What is against the architecture in a package."""
    found, graph = [], edges(root)
    names = {path.name for path in (root / "modalities").iterdir() if path.is_dir() and path.name != "__pycache__"}
    allowed = {"__init__.py", "py.typed", "__pycache__", *order}
    found += [f"{path.name} is no package" for path in root.iterdir() if path.name not in allowed]
    for own, targets in graph.items():
        for target in targets:
            if "/" in own and "/" in target and _rank(target, order) > _rank(own, order):
                found.append(f"{own} imports {target}, which comes later")
            if _modality(own) and _modality(target) and _modality(own) != _modality(target):
                found.append(f"{own} imports another modality: {target}")
    found += [f"{' -> '.join(cycle)} import each other" for cycle in cycles(graph)]
    for path in root.rglob("*.py"):
        own, text = path.relative_to(root).as_posix(), path.read_text()
        if (lines := text.count("\n")) > LONGEST:
            found.append(f"{own} has {lines} lines")
        engine = "/" in own and _rank(own, order) < order.index("modalities")
        if engine and own not in FILE_KINDS and (named := names & _strings(ast.parse(text))):
            found.append(f"{own} names a modality: {', '.join(sorted(named))}")
    return found


def cycles(graph: Edges) -> list[list[str]]:
    """Files on cycles of imports, as one group; files that only lead to a cycle, or are led to, are none of them."""
    left = {own: set(targets) for own, targets in graph.items()}
    before = 0
    while len(left) != before:
        before = len(left)
        imported = {target for targets in left.values() for target in targets}
        left = {
            own: targets & left.keys() for own, targets in left.items() if own in imported and targets & left.keys()
        }
    return [sorted(left)] if left else []


def _rank(file: str, order: tuple[str, ...]) -> int:
    return order.index(file.split("/")[0])


def _modality(file: str) -> str | None:
    parts = file.split("/")
    return parts[1] if parts[0] == "modalities" and len(parts) > 2 else None


def _module(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def _strings(tree: ast.Module) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_the_package_follows_its_architecture() -> None:
    assert not faults(ROOT)


def test_every_package_is_in_the_order() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(ORDER)


WHOLE = {
    "core/tokens.py": "",
    "data/base.py": "from mmgen.core.tokens import Tokens",
    "modalities/sight/live.py": "import mmgen.data.base",
    "modalities/sound/live.py": "",
}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("core/late.py", "def f():\n    from mmgen.data.base import x", "core/late.py imports data/base.py"),
        ("core/types.py", "if TYPE_CHECKING:\n    from mmgen.data.base import x", "core/types.py imports data/base.py"),
        ("data/other.py", "from mmgen.modalities.sight import live", "imports modalities/sight/live.py"),
        ("modalities/sound/other.py", "from mmgen.modalities.sight.live import x", "imports another modality"),
        ("core/tokens.py", "import mmgen.core.mask\n", "import each other"),
        ("loose.py", "", "loose.py is no package"),
        ("core/long.py", "\n" * 401, "core/long.py has 401 lines"),
        ("core/branch.py", "sight = kind == 'sight'", "core/branch.py names a modality: sight"),
        ("modalities/sight/name.py", "name = 'sight'", None),
    ],
)
def test_each_fault_is_found(file: str, text: str, message: str | None, tmp_path: Path) -> None:
    root = tmp_path / "mmgen"
    for name, content in (WHOLE | {"core/mask.py": "from mmgen.core.tokens import Tokens"} | {file: text}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    found = faults(root)
    assert len(found) == (message is not None), found
    assert message is None or message in found[0]
