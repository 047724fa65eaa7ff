"""What each modality adds to a page."""

from mmgen.core.modality import find_modality
from mmgen.page.parts import PageParts


def page_parts(name: str) -> PageParts:
    """What a modality adds to a page; a table of files where it adds nothing."""
    modality = find_modality(name)
    parts = None if modality is None else modality.page_parts()
    return parts or PageParts(plural=name if modality is None else modality.plural)
