"""Apply unified diffs, strictly, with the standard library alone.

A machine that builds rys may have neither git nor patch. This program is small because it is
strict: all lines that a hunk names must be in the file, byte for byte. A hunk may have moved (other
line numbers, as after an update of upstream) only if its lines occur in exactly one other place.
Nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# @@ -12,3 +12,4 @@ void f() {
HUNK_HEADER = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
UNSUPPORTED = (b"rename from ", b"copy from ", b"GIT binary patch", b"Binary files ")


class PatchFormatError(Exception):
    """The text is no unified diff that this applier understands."""


@dataclass
class Hunk:
    """One hunk: the lines it expects and the lines it leaves, each with its line ending."""

    start: int  # first line in the old file, counted from 1; 0 for an empty old file
    old: list[bytes] = field(default_factory=list)
    new: list[bytes] = field(default_factory=list)


@dataclass
class FilePatch:
    """The hunks of one file.

    `None` as the old path creates the file, as the new path deletes it.
    """

    old_path: str | None
    new_path: str | None
    hunks: list[Hunk] = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.new_path or self.old_path or ""


@dataclass
class HunkFailure:
    """Why one hunk does not apply.

    `line` counts from 1, in the file as it was found; 0 if there is no such file.
    """

    patch: str
    path: str
    hunk: int
    line: int
    reason: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "no such file"
        return f"{self.patch}: {self.path}, hunk {self.hunk} ({place}): {self.reason}"


def parse_patch(text: bytes, name: str) -> list[FilePatch]:
    """Read a unified diff, as `git diff` and `git format-patch` write it.

    Args:
        text: The content of the patch file.
        name: Its name, for messages.

    Raises:
        PatchFormatError: With the line of the patch file.
    """
    lines = text.split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    result: list[FilePatch] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith(UNSUPPORTED):
            raise PatchFormatError(f"{name}, line {at + 1}: only changes of text are supported")
        if line.startswith(b"@@ "):
            if not result:
                raise PatchFormatError(
                    f"{name}, line {at + 1}: a hunk before any '--- a/file' line"
                )
            at = _parse_hunk(lines, at, result[-1], name)
        elif line.startswith(b"--- ") and at + 1 < len(lines) and lines[at + 1].startswith(b"+++ "):
            result.append(FilePatch(_strip_path(line[4:]), _strip_path(lines[at + 1][4:])))
            at += 2
        else:
            at += 1  # mail header, "diff --git", "index", signature
    if not result:
        raise PatchFormatError(f"{name}: no '--- a/file' line in it")
    for file_patch in result:
        if not file_patch.hunks:
            raise PatchFormatError(f"{name}: no hunk for {file_patch.path}")
    return result


def _strip_path(raw: bytes) -> str | None:
    path = raw.split(b"\t")[0].rstrip(b"\r").decode()
    return None if path == "/dev/null" else path.split("/", 1)[-1]


def _parse_hunk(lines: list[bytes], at: int, target: FilePatch, name: str) -> int:
    """Add the hunk whose header is `lines[at]` to `target`; return the index of the next line."""
    header = HUNK_HEADER.match(lines[at])
    if header is None:
        raise PatchFormatError(f"{name}, line {at + 1}: not a hunk header")
    n_old = int(header[2]) if header[2] is not None else 1
    n_new = int(header[4]) if header[4] is not None else 1
    hunk = Hunk(int(header[1]))
    last: list[list[bytes]] = []
    at += 1
    # the counts decide where the hunk ends: a mail signature ("-- ") looks like a removed line
    while at < len(lines) and (
        len(hunk.old) < n_old or len(hunk.new) < n_new or lines[at].startswith(b"\\")
    ):
        kind, rest = lines[at][:1], lines[at][1:] + b"\n"
        if kind == b"\\":
            for side in last:
                side[-1] = side[-1].rstrip(b"\n")
            last = []
        elif kind in (b" ", b""):  # some editors strip the blank of an empty context line
            last = [hunk.old, hunk.new]
        elif kind == b"-":
            last = [hunk.old]
        elif kind == b"+":
            last = [hunk.new]
        else:
            break
        if kind != b"\\":
            for side in last:
                side.append(rest)
        at += 1
    if len(hunk.old) != n_old or len(hunk.new) != n_new:
        counts = f"{len(hunk.old)} of {n_old} old and {len(hunk.new)} of {n_new} new lines"
        raise PatchFormatError(f"{name}, line {at}: the hunk ends here with {counts}")
    target.hunks.append(hunk)
    return at


def apply_patch(files: dict[str, bytes], patch: bytes, name: str) -> list[HunkFailure]:
    """Apply one patch to `files`, in place. A file changes only if all its hunks apply.

    Args:
        files: The content of each file, by its path.
        patch: The content of the patch file.
        name: Its name, for messages.

    Returns:
        The hunks that do not apply; an empty list means success.

    Raises:
        PatchFormatError: If `patch` is no unified diff.
    """
    failures: list[HunkFailure] = []
    for file_patch in parse_patch(patch, name):
        failures += _apply_file_patch(files, file_patch, name)
    return failures


def _apply_file_patch(
    files: dict[str, bytes], file_patch: FilePatch, name: str
) -> list[HunkFailure]:
    path = file_patch.path
    if file_patch.old_path is None:
        if path in files:
            reason = "the patch creates this file, but it exists already"
            return [HunkFailure(name, path, 1, 1, reason)]
        content: list[bytes] = []
    elif file_patch.old_path not in files:
        reason = "the patch changes this file, but upstream has no such file"
        return [HunkFailure(name, path, 1, 0, reason)]
    else:
        content = _split(files[file_patch.old_path])

    failures: list[HunkFailure] = []
    result: list[bytes] = []
    cursor = 0  # first line of the old file that no hunk has consumed
    moved = 0  # by how many lines the previous hunk was off
    for number, hunk in enumerate(file_patch.hunks, 1):
        # a hunk without old lines stands *behind* the line it names
        stated = (hunk.start if not hunk.old else hunk.start - 1) + moved
        position, reason = _find(content, hunk, stated, cursor)
        if position is None:
            line = min(max(stated, cursor), len(content)) + 1
            failures.append(HunkFailure(name, path, number, line, reason))
            continue
        result += content[cursor:position] + hunk.new
        cursor = position + len(hunk.old)
        moved += position - stated
    if failures:
        return failures
    result += content[cursor:]
    if file_patch.new_path is None:
        if result:
            reason = "the patch deletes this file, but upstream's has more lines"
            return [HunkFailure(name, path, 1, 1, reason)]
        del files[path]
    else:
        files[file_patch.new_path] = b"".join(result)
    return []


def _split(content: bytes) -> list[bytes]:
    # not splitlines(): that also splits at a lone carriage return or form feed
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _matches(content: list[bytes], lines: list[bytes], position: int) -> bool:
    return position >= 0 and content[position : position + len(lines)] == lines


def _find(content: list[bytes], hunk: Hunk, stated: int, cursor: int) -> tuple[int | None, str]:
    """Return the index of the hunk's first line, or `None` and the reason."""
    if stated >= cursor and stated <= len(content) and _matches(content, hunk.old, stated):
        return stated, ""
    if not hunk.old:
        return None, f"the patch inserts here, but the file has {len(content)} lines"
    places = _places(content, hunk.old, cursor)
    if len(places) == 1:
        return places[0], ""
    if places:
        lines = ", ".join(str(i + 1) for i in places[:5])
        reason = f"its lines occur in {len(places)} places (lines {lines})"
        return None, f"{reason} and none is where the patch says"
    if hunk.new and _places(content, hunk.new, cursor):
        return None, "the change is in the file already"
    return None, _first_difference(content, hunk, stated)


def _places(content: list[bytes], lines: list[bytes], cursor: int) -> list[int]:
    """Return where the lines stand, from the line `cursor` on."""
    positions = range(cursor, len(content) - len(lines) + 1)
    return [position for position in positions if _matches(content, lines, position)]


def _first_difference(content: list[bytes], hunk: Hunk, stated: int) -> str:
    """Return the first line that differs, at the place where most lines of the hunk agree.

    Of several such places it is the one nearest to where the patch says.
    """

    def rank(position: int) -> tuple[int, int]:
        there = content[position : position + len(hunk.old)]
        n_equal = sum(a == b for a, b in zip(hunk.old, there, strict=False))
        return n_equal, -abs(position - stated)

    best = max(range(len(content) + 1), key=rank)
    for i, expected in enumerate(hunk.old):
        found = content[best + i] if best + i < len(content) else None
        if found != expected:
            shown = "the end of the file" if found is None else _show(found)
            return f"line {best + i + 1} should be {_show(expected)} and is {shown}"
    return "its lines stand before those of an earlier hunk"


def _show(line: bytes) -> str:
    ending = "" if line.endswith(b"\n") else " (no newline)"
    return repr(line.rstrip(b"\n").decode(errors="replace")) + ending
