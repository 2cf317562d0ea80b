"""Physical copies of a model along a layer path, for programs that do not support paths."""

from rys.errors import CannotExpressError
from rys.export.copy import Export, export

__all__ = ["CannotExpressError", "Export", "export"]
