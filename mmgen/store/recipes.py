"""Where the recipes lie: in the checkout of an editable install, inside the package of an installed wheel."""

from pathlib import Path

from mmgen.core.errors import UserError, nearest


def recipes_root() -> Path:
    """The folder that holds `configs/`, `tokenizers/` and `experiments/`."""
    package = Path(__file__).parents[1]
    checkout = package.parent
    # site-packages may hold an `experiments` of somebody else's; only a checkout has the project's own file beside it.
    return checkout if (checkout / "pyproject.toml").is_file() else package / "_recipes"


def find_recipe(text: str) -> Path:
    """The file of a recipe: as given, in a folder given, or among mmgen's own.

    Raises:
        UserError: there is none.
    """
    places = [base / text / name for base in (Path(), recipes_root()) for name in ("", "config.yaml")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        known = [str(each.relative_to(recipes_root())) for each in recipes_root().glob("*/*/config.yaml")]
        raise UserError(f"recipe {text} does not exist{nearest(text, known)}")
    return path
