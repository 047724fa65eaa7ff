"""Where the recipes lie: in the checkout of an editable install, inside the package of an installed wheel."""

from pathlib import Path


def recipes_root() -> Path:
    """The folder that holds `configs/`, `tokenizers/` and `experiments/`."""
    package = Path(__file__).parent
    checkout = package.parent
    # site-packages may hold an `experiments` of somebody else's; only a checkout has the project's own file beside it.
    return checkout if (checkout / "pyproject.toml").is_file() else package / "_recipes"
