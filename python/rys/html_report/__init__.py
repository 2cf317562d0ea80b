"""A sweep as one page for a browser, with no network, no server and no files beside it."""

from rys.html_report.page import render, write_report

__all__ = ["render", "write_report"]
