"""mmgen: a generative system is tokenizer x layout x mask x head x paradigm over one backbone.

Importing this package imports nothing heavy; take what you need from its modules.
"""

from importlib.metadata import PackageNotFoundError, version

import mmgen.modalities  # fills the table of modalities, which names packages and imports none

try:
    __version__ = version("mmgen")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+checkout"
