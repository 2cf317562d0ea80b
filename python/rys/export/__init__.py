"""Physical copies of a model along a layer path, for programs that know nothing of paths."""

from rys.errors import CannotExpressError
from rys.export.copy import Export, export

__all__ = ["CannotExpressError", "Export", "export"]
