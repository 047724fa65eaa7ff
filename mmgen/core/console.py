"""Rich's console for what holds names and texts of others: they are no markup, and printable."""

from typing import Any

from rich.console import Console
from rich.text import Text

from mmgen.core.terminal import printable


class SafeConsole(Console):
    """As wide as the terminal; 120 characters where there is none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)
        if not self.is_terminal:
            self.width = 120

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)
