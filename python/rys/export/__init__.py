"""Physical copies of a model along a layer path, for programs that know nothing of paths."""

from rys.export.copy import Export, export
from rys.export.source import CannotExpressError

__all__ = ["CannotExpressError", "Export", "export"]
