"""A sweep as one page for a browser, which needs nothing else: no network, no server, no files
beside it.
"""

from rys.html_report.page import render, write_report

__all__ = ["render", "write_report"]
