"""The repository keeps its own promises: CI collects every test, documents name what exists, recipes hold no code."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from mmgen.apps.cli.main import COMMANDS
from mmgen.store.recipes import recipes_root

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tokenizers/*/*.md"), *ROOT.glob("experiments/*/*.md")]
)
RECIPES = sorted([*ROOT.glob("tokenizers/*/config.yaml"), *ROOT.glob("experiments/*/config.yaml")])


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def make_recipes() -> dict[str, str]:
    """Target -> its commands, as the Makefile says them."""
    rules = re.findall(r"^([a-z]+):[^\n]*\n((?:\t[^\n]*\n)*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return dict(rules)


def ci_commands() -> list[str]:
    """The command lines of .ci/run, those of the make targets it calls in their place."""
    lines = (line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines())
    targets = make_recipes()
    return [
        command
        for line in lines
        if line and not line.startswith("#")
        for command in (targets[line.split()[1]].splitlines() if line.startswith("make ") else [line])
    ]


def collected_by_ci() -> list[Path]:
    """The paths that CI hands to pytest. A filter there would hide tests, so none may stand beside them."""
    commands = [command.split("-m pytest", 1)[1].split() for command in ci_commands() if "-m pytest" in command]
    assert commands, ".ci/run runs no pytest"
    for words in commands:
        assert words[:5] == ["-n", "2", "--dist", "loadfile", "$(ARGS)"], f"an option that may leave tests out: {words}"
    return [ROOT / word for words in commands for word in words[5:]]


def folders_with_tests() -> list[Path]:
    return sorted({path.parent for path in ROOT.glob("tests/**/*.py") if defines_tests(path)})


def defines_tests(path: Path) -> bool:
    return any(
        isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text()))
    )


@pytest.mark.parametrize("folder", folders_with_tests(), ids=name)
def test_ci_collects_every_folder_of_tests(folder: Path) -> None:
    assert any(folder.is_relative_to(path) for path in collected_by_ci()), f"no command of .ci/run collects {folder}"


def test_every_file_with_tests_has_a_name_that_pytest_collects() -> None:
    stray = [
        name(path) for path in ROOT.glob("tests/**/*.py") if defines_tests(path) and not path.name.startswith("test_")
    ]
    assert stray == []


def code_of(document: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of every fenced block and code span."""
    text = document.read_text()
    yield from re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        yield "", span


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_documents_name_commands_that_exist(document: Path) -> None:
    shell = [text for language, text in code_of(document) if language not in ("python", "yaml")]
    commands = {word for text in shell for word in re.findall(r"(?:^|[\s/])mmgen ([a-z]+)", text)}
    targets = {word for text in shell for word in re.findall(r"(?:^|\s)make ([a-z]+)", text)}
    assert commands <= set(COMMANDS)
    assert targets <= set(make_recipes())


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_relative_links_resolve(document: Path) -> None:
    prose = re.sub(r"^```.*?^```|`[^`\n]+`", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)", prose) if "://" not in link]
    missing = [link for link in links if link and not (document.parent / link).exists()]
    assert missing == []


def test_readme_lists_every_recipe() -> None:
    linked = set(re.findall(r"\]\(((?:tokenizers|experiments)/\w+)/README\.md\)", (ROOT / "README.md").read_text()))
    assert linked == {name(recipe.parent) for recipe in RECIPES}


def test_recipes_are_found_where_the_checkout_is() -> None:
    assert recipes_root() == ROOT


def test_recipe_folders_hold_no_python() -> None:
    """A top-level tokenizers/__init__.py would even shadow the tokenizers package for whoever runs from here."""
    assert [
        name(path) for folder in ("configs", "tokenizers", "experiments") for path in ROOT.glob(f"{folder}/**/*.py*")
    ] == []


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {normal(re.split(r"[\[<>=!~ ]", line)[0]) for group in groups for line in group}
    distributions = packages_distributions()
    undeclared = {
        f"{name(path)}: {module}"
        for path in [*ROOT.glob("mmgen/**/*.py"), *ROOT.glob("tests/**/*.py")]
        for module in imported(path) - set(sys.stdlib_module_names) - {"mmgen", "tests"}
        if not declared & {normal(each) for each in distributions.get(module, [module])}
    }
    assert undeclared == set()


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported(path: Path) -> set[str]:
    """Top-level names of all that a file imports, inside functions too."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        module.split(".")[0]
        for module in plain | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    }


GLOBAL_DRAWS = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "multinomial", "bernoulli",
    "normal",
}  # fmt: skip


def test_paradigms_draw_only_from_keyed_streams() -> None:
    """A global generator would make the noise depend on batch size, accumulation and rank."""
    draws = {
        f"{name(path)}:{node.lineno}"
        for path in ROOT.glob("mmgen/paradigms/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in GLOBAL_DRAWS
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
    }
    assert draws == set()


def test_light_commands_import_no_heavy_library() -> None:
    program = (
        "import sys\nfrom mmgen.apps.cli.main import main\n"
        "for words in (['--help'], ['list']):\n"
        "    try: assert not main(words)\n    except SystemExit as stop: assert not stop.code\n"
        "heavy = {'lightning', 'pytorch_lightning', 'diffusers', 'torchmetrics'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
