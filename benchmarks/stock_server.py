"""A llama-server (of stock_programs.py, unpatched) that is started on a GGUF, asked over HTTP, and
stopped.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# Whatever proxy the machine has. Made once: newer versions of Python take 20 ms for what https
# would need.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StockServer:
    """Run a server on 127.0.0.1 for as long as a `with` block lasts.

    command: the program with its options, but for the model and the address. log: gets what the
    server says. Raises RuntimeError, with the end of the log, if the server does not become
    healthy.
    """

    def __init__(
        self, command: Sequence[str | Path], model: Path, log: Path, *, patience: float = 300.0
    ) -> None:
        with socket.socket() as probe:  # the system names a free port
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self._model = str(model)
        self._command = [
            *map(str, command),
            "--model",
            self._model,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        self._log = log
        self._patience = patience

    def __enter__(self) -> StockServer:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_us(),
            )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        finally:  # after a second Ctrl-C as well
            self._process.kill()
            self._process.wait()

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + self._patience
        while self._process.poll() is None and time.monotonic() < deadline:
            # not listening yet, still loading (503), or another server that took the port
            with suppress(urllib.error.URLError, ConnectionError, ValueError):
                self.get("/health")
                if self.get("/props").get("model_path") == self._model:
                    return
            time.sleep(0.005)
        code = self._process.poll()
        what = (
            f"is not healthy after {self._patience:g} s"
            if code is None
            else f"exited with code {code}"
        )
        end = self._log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(self._command)} {what}. It said:\n{end}")

    def get(self, path: str) -> Any:
        """Return the answer to a GET request."""
        return self._open(urllib.request.Request(self.address + path))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer to a POST request."""
        headers = {"Content-Type": "application/json"}
        return self._open(
            urllib.request.Request(self.address + path, json.dumps(body).encode(), headers)
        )

    @staticmethod
    def _open(request: urllib.request.Request) -> Any:
        with _DIRECT.open(request, timeout=600) as answer:
            return json.load(answer)

    def generate(self, prompt: str, max_tokens: int) -> list[int]:
        """Return the tokens of a greedy continuation, without the one that ends it."""
        body = {"prompt": prompt, "n_predict": max_tokens, "temperature": 0, "return_tokens": True}
        answer = self.post("/completion", body)
        tokens: list[int] = answer["tokens"]
        return tokens[:-1] if answer["stop_type"] == "eos" else tokens

    def tokenize(self, prompt: str) -> list[int]:
        """Return the tokens that `generate` evaluates for a prompt."""
        tokens: list[int] = self.post("/tokenize", {"content": prompt, "add_special": True})[
            "tokens"
        ]
        return tokens

    @property
    def process_id(self) -> int:
        return self._process.pid


def _die_with_us() -> Callable[[], object] | None:
    """Return what a new process calls so that it is killed when this one is, by whatever; Linux
    only, else None.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent, set_parent_death_signal = ctypes.CDLL(None).prctl, os.getpid(), 1

    def ask() -> None:
        prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # too late
            os._exit(1)

    return ask
