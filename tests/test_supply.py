"""What is installed: known versions, none known to be harmful, bounds where private names are used, licences said."""

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
INSTALLED_BY_MAKE = re.findall(r"-e '\.\[([a-z,-]+)\]'", (ROOT / "Makefile").read_text())
DEMO_EXTRAS, DEVELOPMENT_EXTRAS = (extras.split(",") for extras in INSTALLED_BY_MAKE)


def requirements(*extras: str) -> list[Requirement]:
    return [Requirement(line) for extra in extras for line in GROUPS[extra]]


def locked() -> dict[str, Version]:
    lines = (Requirement(line) for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines())
    return {canonicalize_name(line.name): Version(str(line.specifier).removeprefix("==")) for line in lines}


@pytest.mark.parametrize("requirement", requirements("", *DEVELOPMENT_EXTRAS), ids=lambda each: each.name)
def test_every_package_of_ci_is_locked_at_a_version_that_the_project_allows(requirement: Requirement) -> None:
    assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_the_releases_of_lightning_that_stole_credentials_are_refused(version: str) -> None:
    (lightning,) = (each for each in requirements("") if each.name == "lightning")
    assert not lightning.specifier.contains(version)


def private_names() -> set[str]:
    """Packages that mmgen imports a private name or module of."""
    return {
        node.module.split(".")[0]
        for path in ROOT.glob("mmgen/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("mmgen")
        if any(re.match(r"_[A-Za-z]", part) for part in [*node.module.split("."), *(each.name for each in node.names)])
    }


def test_packages_whose_private_names_are_used_have_an_upper_bound() -> None:
    distributions = packages_distributions()
    bounded = {
        canonicalize_name(each.name)
        for each in requirements(*GROUPS)
        if any(part.operator in ("<", "<=", "==", "~=") for part in each.specifier)
    }
    modules = private_names()
    assert "lightning" in modules  # so that the search is known to find some
    unbounded = {m for m in modules if not bounded & {canonicalize_name(each) for each in distributions.get(m, [m])}}
    assert unbounded == set()


@pytest.mark.parametrize("requirement", requirements(*DEMO_EXTRAS), ids=lambda each: each.name)
def test_the_readme_says_the_licence_of_what_make_demo_installs(requirement: Requirement) -> None:
    section = (ROOT / "README.md").read_text().split("\n## Licence\n")[1]
    assert re.search(rf"^\| .*\b{re.escape(requirement.name)}\b.* \| [^|]+ \|$", section, re.MULTILINE)
