"""The build's own steps: fetching, checking and patching llama.cpp. Nothing is compiled here."""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import obtain
from apply_patches import PatchFormatError, apply_patch, parse_patch

OLD = b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n"
CHANGE_FOUR = b"--- a/f\n+++ b/f\n@@ -3,3 +3,4 @@\n three\n-four\n+FOUR\n+and a half\n five\n"
AFTER_FOUR = b"one\ntwo\nthree\nFOUR\nand a half\nfive\nsix\nseven\n"

# the least that passes for llama.cpp's sources
TREE = {
    "CMakeLists.txt": b"# llama.cpp\n",
    "LICENSE": b"MIT\n",
    "ggml/src/ggml.c": b"int ggml;\n",
    "src/llama.cpp": OLD,
    "vendor/CMakeLists.txt": b"",
    "vendor/stb/CMakeLists.txt": b"",
}
NOT_NEEDED = {
    "tools/server.cpp": b"server\n",
    "vendor/stb/stb_image.h": b"image\n",
    "tests/test-llama-archs.cpp": b"archs\n",
}


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def write_archive(path: Path, prefix: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def pin_of(archive: Path) -> obtain.Pin:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return obtain.Pin("llama-cpp-python", "9.9", digest, "abcdef123")


@pytest.fixture
def sdist(tmp_path: Path) -> Path:
    """A source distribution such as pip brings, in a cache folder under its proper name."""
    (tmp_path / "cache").mkdir()
    files = {"CMakeLists.txt": b"outer\n"} | {
        f"vendor/llama.cpp/{k}": v for k, v in (TREE | NOT_NEEDED).items()
    }
    return write_archive(
        tmp_path / "cache" / "llama_cpp_python-9.9.tar.gz", "llama_cpp_python-9.9/", files
    )


@pytest.fixture
def patch_dir(tmp_path: Path) -> Path:
    patch = CHANGE_FOUR.replace(b"/f", b"/src/llama.cpp")
    return write_tree(tmp_path / "patches", {"0001-four.patch": patch})


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs pip fails the test."""

    def refuse(command: list[str]) -> subprocess.CompletedProcess[str]:
        raise AssertionError(f"unexpected: {command}")

    monkeypatch.setattr(obtain, "run_pip", refuse)


def fake_pip(
    monkeypatch: pytest.MonkeyPatch, status: int, said: str, brings: Path | None = None
) -> list[list[str]]:
    calls: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if brings is not None:
            shutil.copy(
                brings, Path(command[command.index("--dest") + 1]) / "llama_cpp_python-9.9.tar.gz"
            )
        return subprocess.CompletedProcess(command, status, said)

    monkeypatch.setattr(obtain, "run_pip", run)
    return calls


class TestPatches:
    def test_a_hunk_applies_where_it_says(self) -> None:
        files = {"f": OLD}
        assert apply_patch(files, CHANGE_FOUR, "p") == []
        assert files == {"f": AFTER_FOUR}

    def test_a_hunk_that_moved_applies_where_its_lines_are(self) -> None:
        files = {"f": b"new first line\n" * 9 + OLD}
        assert apply_patch(files, CHANGE_FOUR, "p") == []
        assert files["f"] == b"new first line\n" * 9 + AFTER_FOUR

    def test_later_hunks_move_with_earlier_ones(self) -> None:
        # the second hunk's lines occur twice, and only the shift of the first tells which is meant
        old = b"a\nb\nx\ny\nz\nx\ny\n"
        patch = b"--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+B\n@@ -6,2 +6,2 @@\n x\n-y\n+Y\n"
        files = {"f": b"0\n" + old}
        assert apply_patch(files, patch, "p") == []
        assert files["f"] == b"0\na\nB\nx\ny\nz\nx\nY\n"

    def test_a_context_line_that_differs_is_told_with_file_hunk_and_line(self) -> None:
        files = {"f": OLD.replace(b"five", "fünf".encode())}
        [failure] = apply_patch(files, CHANGE_FOUR, "0007-x.patch")
        assert (
            str(failure)
            == "0007-x.patch: f, hunk 1 (line 3): line 5 should be 'five' and is 'fünf'"
        )

    def test_white_space_counts(self) -> None:
        [failure] = apply_patch({"f": OLD.replace(b"five\n", b"five \n")}, CHANGE_FOUR, "p")
        assert failure.reason == "line 5 should be 'five' and is 'five '"

    def test_a_failed_hunk_leaves_its_file_alone_and_the_others_are_tried(self) -> None:
        patch = CHANGE_FOUR + b"@@ -7 +8 @@\n-seven\n+7\n" + CHANGE_FOUR.replace(b"/f", b"/g")
        files = {"f": OLD.replace(b"four", b"4"), "g": OLD}
        assert [(f.path, f.hunk) for f in apply_patch(files, patch, "p")] == [("f", 1)]
        assert files == {"f": OLD.replace(b"four", b"4"), "g": AFTER_FOUR}

    def test_two_possible_places_are_refused(self) -> None:
        files = {"f": b"0\n" + OLD + OLD}
        [failure] = apply_patch(files, CHANGE_FOUR, "p")
        assert (
            failure.reason
            == "its lines occur in 2 places (lines 4, 11) and none is where the patch says"
        )

    def test_a_change_that_is_there_already_is_told(self) -> None:
        [failure] = apply_patch({"f": AFTER_FOUR}, CHANGE_FOUR, "p")
        assert failure.reason == "the change is in the file already"

    def test_a_missing_file_is_told(self) -> None:
        [failure] = apply_patch({}, CHANGE_FOUR, "p")
        assert str(failure) == (
            "p: f, hunk 1 (no such file): the patch changes this file, but upstream has no such "
            "file"
        )

    def test_files_are_created_and_deleted(self) -> None:
        files = {"old": b"x\n"}
        patch = (
            b"--- /dev/null\n+++ b/new\n@@ -0,0 +1,2 @@\n+1\n+2\n"
            b"--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        )
        assert apply_patch(files, patch, "p") == []
        assert files == {"new": b"1\n2\n"}

    def test_a_mail_signature_is_no_removed_line(self) -> None:
        mail = (
            b"From 0123\nSubject: [PATCH] four\n\n---\n f | 3 +-\n\n"
            + CHANGE_FOUR
            + b"-- \n2.39.5\n\n"
        )
        files = {"f": OLD}
        assert apply_patch(files, mail, "p") == []
        assert files == {"f": AFTER_FOUR}

    @pytest.mark.parametrize(
        ("patch", "message"),
        [
            (b"hello\n", "p: no '--- a/file' line in it"),
            (b"--- a/f\n+++ b/f\n", "p: no hunk for f"),
            (
                CHANGE_FOUR[:-6],
                "p, line 7: the hunk ends here with 2 of 3 old and 3 of 4 new lines",
            ),
            (b"rename from f\nrename to g\n", "p, line 1: only changes of text are supported"),
            (b"@@ -1 +1 @@\n-a\n+b\n", "p, line 1: a hunk before any '--- a/file' line"),
        ],
    )
    def test_what_is_no_patch_is_told(self, patch: bytes, message: str) -> None:
        with pytest.raises(PatchFormatError, match=f"^{re.escape(message)}$"):
            apply_patch({"f": OLD}, patch, "p")

    @given(
        st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=30),
        st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=30),
        st.booleans(),
        st.booleans(),
    )
    def test_what_diff_writes_applies(
        self, old: list[bytes], new: list[bytes], old_ends: bool, new_ends: bool
    ) -> None:
        # oracle: the two texts that the difference was taken of
        def text(lines: list[bytes], ends: bool) -> bytes:
            return b"\n".join(lines) + (b"\n" if ends and lines else b"")

        a, b = text(old, old_ends), text(new, new_ends)
        patch = unified_diff(a, b)
        files = {"f": a}
        if patch:
            assert apply_patch(files, patch, "p") == []
        assert files["f"] == b


def unified_diff(a: bytes, b: bytes) -> bytes:
    """Write the difference as `diff -u` does, the marks for missing newlines included."""

    def lines(text: bytes) -> list[str]:
        return text.decode().splitlines(keepends=True)

    result = []
    for line in difflib.unified_diff(lines(a), lines(b), "a/f", "b/f"):
        result.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(result).encode()


class TestObtaining:
    def test_the_archive_in_the_cache_is_used(self, sdist: Path, no_pip: None) -> None:
        assert obtain.obtain_archive(pin_of(sdist), sdist.parent) == sdist

    def test_pip_fetches_what_the_cache_lacks(
        self, sdist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = fake_pip(monkeypatch, 0, "", brings=sdist)
        archive = obtain.obtain_archive(pin_of(sdist), tmp_path / "new")
        assert archive.read_bytes() == sdist.read_bytes()
        assert list((tmp_path / "new").iterdir()) == [archive]
        assert calls[0][:4] == [sys.executable, "-m", "pip", "download"]
        assert calls[0][-1] in ("llama-cpp-python==9.9", "--no-build-isolation")

    def test_a_damaged_archive_in_the_cache_is_fetched_again(
        self,
        sdist: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        good = shutil.copy(sdist, tmp_path / "good")
        sdist.write_bytes(sdist.read_bytes()[:100])
        fake_pip(monkeypatch, 0, "", brings=good)
        assert obtain.obtain_archive(pin_of(good), sdist.parent).read_bytes() == good.read_bytes()
        assert f"{sdist} is damaged" in capsys.readouterr().out

    def test_another_checksum_is_refused_and_nothing_kept(
        self, sdist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake_pip(monkeypatch, 0, "", brings=sdist)
        pin = obtain.Pin("llama-cpp-python", "9.9", "0" * 64, "abcdef123")
        with pytest.raises(obtain.ObtainError) as caught:
            obtain.obtain_archive(pin, tmp_path / "new")
        message = str(caught.value)
        assert f"expected sha256  {'0' * 64}" in message
        assert f"found sha256     {pin_of(sdist).sha256}" in message
        assert "RYS_LLAMA_CPP_SOURCE" in message
        assert list((tmp_path / "new").iterdir()) == []

    def test_no_network_tells_how_to_go_on(
        self, sdist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = (
            "Looking in indexes: there\nWARNING: Retrying (...)\n"
            "ERROR: No matching distribution found\n"
        )
        fake_pip(monkeypatch, 1, said)
        with pytest.raises(obtain.ObtainError) as caught:
            obtain.obtain_archive(pin_of(sdist), tmp_path / "new")
        message = str(caught.value)
        assert "    ERROR: No matching distribution found\n" in message
        assert "Looking in" not in message
        assert (
            "python -m pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==9.9"
            in message
        )
        assert str(tmp_path / "new" / "llama_cpp_python-9.9.tar.gz") in message
        assert "RYS_LLAMA_CPP_SOURCE" in message

    def test_upstreams_build_tool_is_fetched_if_metadata_need_it(
        self, sdist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(obtain.importlib.util, "find_spec", lambda name: object())
        calls = fake_pip(monkeypatch, 1, "error: metadata-generation-failed\n")
        with pytest.raises(obtain.ObtainError):
            obtain.obtain_archive(pin_of(sdist), tmp_path / "new")
        assert ["--no-build-isolation" in call for call in calls] == [True, False]

    @pytest.mark.skipif(
        sys.platform in ("win32", "darwin"), reason="these have their own cache folders"
    )
    def test_the_cache_folder_is_the_users(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("RYS_CACHE_DIR", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert obtain.cache_dir() == tmp_path / "rys"
        monkeypatch.setenv("RYS_CACHE_DIR", str(tmp_path / "own"))
        assert obtain.cache_dir() == tmp_path / "own"

    def test_without_a_cache_folder_the_build_tree_keeps_the_archive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("RYS_CACHE_DIR", str(tmp_path / "file" / "rys"))
        assert obtain.usable_cache(obtain.load_pin(), tmp_path) == tmp_path / "cache"


Prepare = Callable[
    ..., str
]  # prepares the build tree from a source, by default the archive in the cache


class TestPreparing:
    @pytest.fixture
    def prepare(
        self, sdist: Path, patch_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Prepare:
        monkeypatch.setenv("RYS_CACHE_DIR", str(sdist.parent))
        pin = pin_of(sdist)
        return lambda source="": obtain.prepare(
            tmp_path / "build" / "llama.cpp", str(source), pin, patch_dir
        )

    def test_the_needed_files_are_there_and_patched(self, prepare: Prepare, tmp_path: Path) -> None:
        prepare()
        assert read_tree(tmp_path / "build" / "llama.cpp") == TREE | {"src/llama.cpp": AFTER_FOUR}
        described = (tmp_path / "build" / "llama.cpp.cmake").read_text()
        assert "set(RYS_LLAMA_CPP_ORIGIN [==[llama-cpp-python 9.9]==])" in described
        assert 'set(RYS_LLAMA_CPP_COMMIT "abcdef123")' in described

    def test_a_second_build_writes_nothing(
        self, prepare: Prepare, sdist: Path, no_pip: None, tmp_path: Path
    ) -> None:
        prepare()
        stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "build").rglob("*")}
        sdist.unlink()  # not even needed
        assert "in place" in prepare()
        assert {p: p.stat().st_mtime_ns for p in (tmp_path / "build").rglob("*")} == stamps

    def test_a_changed_patch_writes_only_what_it_touches(
        self, prepare: Prepare, patch_dir: Path, tmp_path: Path
    ) -> None:
        prepare()
        output = tmp_path / "build" / "llama.cpp"
        for path in output.rglob("*"):
            os.utime(path, ns=(1, 1))
        patch = patch_dir / "0001-four.patch"
        patch.write_bytes(patch.read_bytes().replace(b"FOUR", b"4"))
        assert "1 of 6 files written" in prepare()
        assert [p.name for p in output.rglob("*") if p.is_file() and p.stat().st_mtime_ns != 1] == [
            "llama.cpp"
        ]

    def test_an_interrupted_copy_is_done_again(
        self, prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Path.write_bytes

        def interrupted(path: Path, content: bytes) -> int:
            real(path, content[: len(content) // 2])
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", interrupted)
            with pytest.raises(KeyboardInterrupt):
                prepare()
        prepare()
        assert read_tree(tmp_path / "build" / "llama.cpp") == TREE | {"src/llama.cpp": AFTER_FOUR}

    def test_files_that_left_upstream_leave_the_build_tree(
        self, prepare: Prepare, tmp_path: Path
    ) -> None:
        write_tree(tmp_path / "build" / "llama.cpp", {"src/models/gone.cpp": b"x"})
        prepare()
        assert not (tmp_path / "build" / "llama.cpp" / "src" / "models" / "gone.cpp").exists()

    @pytest.mark.parametrize("inner", ["", "vendor/llama.cpp"])
    def test_a_checkout_is_read_and_never_written(
        self, prepare: Prepare, tmp_path: Path, no_pip: None, inner: str
    ) -> None:
        checkout = tmp_path / "checkout"
        write_tree(checkout / inner, TREE | NOT_NEEDED)
        prepare(checkout)
        assert read_tree(checkout / inner) == TREE | NOT_NEEDED
        assert read_tree(tmp_path / "build" / "llama.cpp") == TREE | {"src/llama.cpp": AFTER_FOUR}

    def test_an_edited_checkout_is_copied_again(self, prepare: Prepare, tmp_path: Path) -> None:
        checkout = write_tree(tmp_path / "checkout", TREE)
        prepare(checkout)
        (checkout / "ggml/src/ggml.c").write_bytes(b"int edited;\n")
        assert "1 of 6 files written" in prepare(checkout)

    @pytest.mark.parametrize(
        "prefix", ["llama.cpp-master/", "llama_cpp_python-9.9/vendor/llama.cpp/"]
    )
    def test_an_archive_is_a_source_too(
        self, prepare: Prepare, tmp_path: Path, no_pip: None, prefix: str
    ) -> None:
        prepare(write_archive(tmp_path / "a.tar.gz", prefix, TREE | NOT_NEEDED))
        assert read_tree(tmp_path / "build" / "llama.cpp") == TREE | {"src/llama.cpp": AFTER_FOUR}
        assert "[==[a.tar.gz]==]" in (tmp_path / "build" / "llama.cpp.cmake").read_text()

    def test_a_source_that_is_not_there_is_told(self, prepare: Prepare) -> None:
        with pytest.raises(
            obtain.ObtainError, match=r"^RYS_LLAMA_CPP_SOURCE is /no/where, but there is no such"
        ):
            prepare("/no/where")

    def test_a_source_that_is_something_else_is_told(
        self, prepare: Prepare, tmp_path: Path
    ) -> None:
        with pytest.raises(obtain.ObtainError, match="that is no checkout"):
            prepare(tmp_path)
        (tmp_path / "text").write_text("not an archive")
        with pytest.raises(obtain.ObtainError, match="cannot be read"):
            prepare(tmp_path / "text")
        with pytest.raises(obtain.ObtainError, match="is no archive of"):
            prepare(write_archive(tmp_path / "b.tar.gz", "b/", {"setup.py": b""}))

    def test_a_truncated_archive_is_told(
        self, prepare: Prepare, sdist: Path, tmp_path: Path
    ) -> None:
        whole = sdist.read_bytes()
        (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) * 3 // 4])
        with pytest.raises(obtain.ObtainError, match="cannot be read"):
            prepare(tmp_path / "cut.tar.gz")

    def test_a_patch_that_no_longer_applies_is_told(self, prepare: Prepare, tmp_path: Path) -> None:
        checkout = write_tree(
            tmp_path / "checkout", TREE | {"src/llama.cpp": OLD.replace(b"five", b"5")}
        )
        with pytest.raises(obtain.ObtainError) as caught:
            prepare(checkout)
        message = str(caught.value)
        assert message.startswith(f"rys's patches do not apply to llama.cpp from {checkout}:\n")
        assert (
            "0001-four.patch: src/llama.cpp, hunk 1 (line 3): line 5 should be 'five' and is '5'"
            in message
        )
        assert "unset RYS_LLAMA_CPP_SOURCE" in message
        assert "tools/update_llama_cpp.py" in message
        assert not (tmp_path / "build" / "llama.cpp").exists()

    def test_everything_is_unpacked_for_upstreams_tests(
        self, sdist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pin = pin_of(sdist)
        monkeypatch.setattr(obtain, "load_pin", lambda: pin)
        monkeypatch.setenv("RYS_CACHE_DIR", str(sdist.parent))
        folder = obtain.unpack_all(tmp_path / "all", source="")
        assert read_tree(folder).items() >= (TREE | NOT_NEEDED).items()
        sdist.unlink()
        assert (
            obtain.unpack_all(tmp_path / "all", source="") == folder
        )  # found complete, so not unpacked again


class TestProgram:
    """The program that CMake runs."""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(obtain.__file__)
        return subprocess.run(
            [sys.executable, str(program), *arguments], capture_output=True, text=True, check=False
        )

    def test_an_error_is_a_message_and_no_traceback(self, tmp_path: Path) -> None:
        result = self.run("--output", str(tmp_path / "llama.cpp"), "--source=/no/where")
        assert result.returncode == 1
        assert result.stderr.startswith("RYS_LLAMA_CPP_SOURCE is /no/where")
        assert "Traceback" not in result.stderr

    def test_it_needs_nothing_but_the_standard_library(self) -> None:
        command = [
            sys.executable,
            "-S",
            str(Path(obtain.__file__)),
            "--help",
        ]  # -S: no site-packages
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        assert (
            subprocess.run(command, capture_output=True, env=environment, check=False).returncode
            == 0
        )


class TestRepository:
    def test_the_pin_is_complete(self) -> None:
        pin = obtain.load_pin()
        assert re.fullmatch(r"[0-9a-f]{64}", pin.sha256)
        assert re.fullmatch(r"[0-9a-f]{9,40}|unknown", pin.llama_cpp_commit)
        readme = obtain.PIN_FILE.with_name("README.md").read_text(encoding="utf-8")
        assert [
            fact for fact in (str(pin), pin.sha256, pin.llama_cpp_commit) if fact not in readme
        ] == []

    @pytest.mark.parametrize("path", obtain.patch_files(), ids=lambda path: path.name)
    def test_patches_touch_only_what_is_unpacked(self, path: Path) -> None:
        for file_patch in parse_patch(path.read_bytes(), path.name):
            assert obtain.is_needed(file_patch.path), file_patch.path
