"""Fixtures that tests of data share."""

from tests.data.conftest import means, one_thread

__all__ = ["means", "one_thread"]
