"""The engine of one model: a context, a scheduler, and the calls that share them."""

from __future__ import annotations

import codecs
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from rys import _core, _log
from rys.engine import process
from rys.errors import EngineError, ModelClosedError, UnsupportedArchitectureError

__all__ = ["Session"]

_TICK = 0.1  # seconds that the engine computes before the calls look at their results
_PATIENCE = 0.5  # seconds after which a waiting thread looks again without having been told

Floats = npt.NDArray[np.float32]


class _Ticket:
    """The requests of one call, and the results so far."""

    def __init__(self, ids: Sequence[int], *, wants_text: bool) -> None:
        self.ids = ids
        self.results: dict[int, _core.Result] = {}
        self.wants_text = wants_text  # of its only request, as it settles
        self.text = bytearray()

    @property
    def is_done(self) -> bool:
        return len(self.results) == len(self.ids)


class Session:
    """Requests of several calls, evaluated in one context.

    Calls may come from several threads, and a call may begin while a stream of the same thread is
    suspended. All of them insert their requests into one scheduler. Whoever waits for results
    drives it: one thread at a time computes, for everybody, and tells the others after each tick.
    So nothing is computed between two pieces of a stream unless somebody else asks for something.

    What happens when something goes wrong:

    - A stream that is closed or dropped, and a call that raises, cancels its own requests. The
      others do not notice.
    - Ctrl-C raises KeyboardInterrupt in the call of the main thread. The batch that is being
      computed may be lost; the requests of the other calls go on from the tokens that they have.
    - If llama.cpp fails, the call that was driving raises EngineError. Nobody can tell which
      request was the reason, so the requests of all other calls that were not done fail as well,
      with an EngineError as their result. The next call gets a new context if the old one cannot
      be used any more.
    - A request whose logits are not finite is evaluated again, alone in an emptied context, before
      anything else goes on. A NaN in one sequence's cells can reach others through the shared
      cache, where a mask only multiplies it by 0, and this shows whether the NaN is its own.
    - The context's memory is emptied whenever no request is left, unless something is kept for
      later calls (see Model.run): also its data if the model is recurrent, if a NaN was there, or
      if a request was cancelled before it had generated anything.
    - `close` waits for the calls of other threads. A suspended stream ends.
    - In a forked child whose parent has computed with several threads, calls raise EngineError.

    Attributes:
        params: The parameters of the context. They belong to this session alone.
        n_ctx: Tokens that one request may have.
    """

    def __init__(
        self,
        model: _core.Model,
        params: _core.ContextParams,
        n_ctx: int,
        *,
        n_seq_few: int | None,
        cache_prompt: bool,
        source: str,
        architecture: str,
    ) -> None:
        """Open a session. Its context is made when it is first needed.

        Args:
            model: The weights along a path.
            params: The parameters of the context; the session keeps them.
            n_ctx: Tokens that one request may have, at most those of the context.
            n_seq_few: Sequences of the context until a call has more requests than that, or keeps
                nothing; None for those that `params` say from the start.
            cache_prompt: Keep what calls have evaluated for later calls, unless they say otherwise.
            source: The name of the file, for errors.
            architecture: Its architecture, for errors.
        """
        self.params = params
        self.n_ctx = n_ctx
        self._n_seq_few = n_seq_few
        self._cache_prompt = cache_prompt
        self._model: _core.Model | None = model
        self._source = source
        self._architecture = architecture
        self._scheduler: _core.Scheduler | None = None
        self._cached_context: _core.Context | None = None
        self._n_seq = 0  # sequences of that context

        # Guards all below. Not reentrant on purpose: a stream may be dropped, and so closed, by
        # the garbage collector at any place in this file. That is why _forget() never waits.
        self._changed = threading.Condition(threading.Lock())
        self._is_closed = False
        self._driver: int | None = None  # the thread that computes, without holding the lock
        self._n_entering = 0  # calls that wait for the driver to let them in
        self._calls: dict[int, str] = {}  # by thread
        self._tickets: dict[int, _Ticket] = {}  # by request
        self._streamed: dict[int, _Ticket] = {}  # those of them whose text is wanted
        self._cancelled: deque[int] = deque()  # requests that the scheduler has yet to drop
        process.stop_at_exit(self)

    # Calls

    def run(
        self,
        requests: Sequence[_core.Request],
        *,
        progress: bool = False,
        cache_prompt: bool | None = None,
    ) -> list[_core.Result]:
        """Run requests and return their results in the same order.

        Args:
            requests: They share prefixes with each other.
            progress: Show a progress bar.
            cache_prompt: Whether they may begin with what earlier calls have evaluated; None = as
                the session says.

        Raises:
            EngineError: llama.cpp failed while this call was computing.
            KeyboardInterrupt: Ctrl-C.
            ModelClosedError: The session is closed.
        """
        with self._call("run()"):
            ticket = self._insert(requests, cache_prompt=cache_prompt)
            try:
                with tqdm(total=len(requests), unit="request", disable=not progress) as bar:
                    while not ticket.is_done:
                        self._advance(ticket)
                        bar.update(len(ticket.results) - bar.n)
                return [ticket.results[request] for request in ticket.ids]
            finally:
                self._forget(ticket)

    def stream(self, request: _core.Request) -> Generator[str, None, _core.Result | None]:
        """Run one generation and yield its text piece by piece.

        Args:
            request: The generation.

        Returns:
            The result, or None if the session was closed in between.

        Raises:
            EngineError: llama.cpp failed while this call was computing.
            KeyboardInterrupt: Ctrl-C.
            ModelClosedError: The session is closed at the beginning.
        """
        with self._call("stream()"):
            ticket = self._insert([request], wants_text=True)
        try:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            n_sent = 0
            while True:
                try:
                    with self._call("stream()"):
                        # other calls may have computed more since the last piece
                        if not ticket.is_done and len(ticket.text) == n_sent:
                            self._advance(ticket)
                        is_done = ticket.is_done
                        settled = bytes(ticket.text[n_sent:])
                except ModelClosedError:
                    return None
                n_sent += len(settled)
                text = decoder.decode(settled, final=is_done)
                if text:
                    yield text
                if is_done:
                    return ticket.results[ticket.ids[0]]
        finally:
            self._forget(ticket)

    def evaluate(
        self,
        *,
        tokens: Sequence[int] = (),
        embd: Floats | None = None,
        logits: bool = False,
        hidden: bool = False,
    ) -> tuple[Any, Any]:
        """Run one sequence in a context of its own, while no other call computes.

        Args:
            tokens: The sequence; empty with `embd`.
            embd: The residual stream before slot 0 instead of tokens: float32 [T, D].
            logits: Return the logits.
            hidden: Return the residual stream.

        Returns:
            The logits, float32 [T, V], and the residual stream, float32 [n_slot + 1, T, D]. What
            was not asked for is None.

        Raises:
            EngineError: llama.cpp failed.
            KeyboardInterrupt: Ctrl-C.
            ModelClosedError: The session is closed.
        """
        with self._call("an evaluation"):
            # two computations at once would only take each other's cores
            with self._between_ticks():
                self._driver = threading.get_ident()
            try:
                _log.follow_level()
                return self._open_model.evaluate(self.params, list(tokens), embd, logits, hidden)
            finally:
                self._stop_driving()
                _log.flush()

    def close(self) -> None:
        """Free the context. Calls of other threads end first; suspended streams end early.

        Raises:
            EngineError: The calling thread is inside another call of the session.
        """
        self._check_not_inside("close()")
        with self._changed:
            self._is_closed = True
            while self._calls:
                self._changed.wait(_PATIENCE)
            self._model = None
            self._scheduler = None
            self._cached_context = None
            self._tickets.clear()
            self._streamed.clear()

    def stop(self, seconds: float) -> None:
        """Let nobody compute any more, because the process ends.

        Args:
            seconds: How long to wait for the thread that computes.
        """
        with self._changed:
            if self._driver is not None and self._scheduler is not None:
                self._scheduler.hurry()
            self._changed.wait_for(lambda: self._driver is None, seconds)

    def context(self, n_seq_max: int | None = None) -> _core.Context:
        """Return the context. It is made when it is first needed and kept while it is sound.

        Args:
            n_seq_max: Sequences that it should have, which is not certain: other calls may use it.
                None for those that `params` say.

        Raises:
            EngineError: llama.cpp cannot make it.
            ModelClosedError: The session is closed.
            UnsupportedArchitectureError: The model does not generate token by token.
        """
        model = self._open_model
        if not model.has_memory:
            raise UnsupportedArchitectureError(
                f"{self._source}: {self._architecture} does not generate token by token "
                f"(it has no KV cache, or an encoder); logits() and hidden_states() work"
            )
        if self._cached_context is not None and self._cached_context.is_broken:
            self._scheduler = None
            self._cached_context = None
        params = _core.ContextParams(self.params)
        params.n_seq_max = n_seq_max or params.n_seq_max
        if self._n_seq < params.n_seq_max and not self._tickets:
            self._scheduler = None
            self._cached_context = None
        if self._cached_context is None:
            _log.follow_level()
            try:
                self._cached_context = _core.Context(model, params)
                self._n_seq = params.n_seq_max
            finally:
                _log.flush()
        return self._cached_context

    # Who is inside

    @property
    def _open_model(self) -> _core.Model:
        if self._model is None:
            raise self._closed_error()
        return self._model

    def _closed_error(self) -> ModelClosedError:
        return ModelClosedError(f"the model {self._source} is closed; open it again with rys.Model")

    def _check_not_inside(self, name: str) -> None:
        """Refuse a call from within another one, which would wait for itself."""
        outer = self._calls.get(threading.get_ident())
        if outer is not None:
            raise EngineError(
                f"{name} cannot begin while {outer} of the same model is not finished"
            )

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        """Count a call in, so that close() waits for it."""
        # before the lock, which a thread of the parent may have held when it forked
        process.check_not_forked()
        process.note_threads(max(self.params.n_threads, self.params.n_threads_batch))
        self._check_not_inside(name)
        thread = threading.get_ident()
        try:
            with self._changed:
                if self._is_closed:
                    raise self._closed_error()
                self._calls[thread] = name
            yield
        finally:
            # A second Ctrl-C may have kept the thread from handing the engine on.
            if self._driver == thread:
                self._driver = None
            self._calls.pop(thread, None)
            with self._changed:
                self._changed.notify_all()

    # Turns

    @contextmanager
    def _between_ticks(self) -> Iterator[None]:
        """Hold the lock while no thread computes. A thread that does ends its tick soon."""
        with self._changed:
            self._n_entering += 1
            try:
                while self._driver is not None:
                    if self._scheduler is not None:
                        self._scheduler.hurry()
                    self._changed.wait(_PATIENCE)
                yield
            finally:
                self._n_entering -= 1
                self._changed.notify_all()

    def _insert(
        self,
        requests: Sequence[_core.Request],
        *,
        wants_text: bool = False,
        cache_prompt: bool | None = None,
    ) -> _Ticket:
        if cache_prompt is None:
            cache_prompt = self._cache_prompt
        # A measurement gets the same context whatever was asked before.
        n_seq_few = self._n_seq_few or self.params.n_seq_max
        is_few = cache_prompt and len(requests) <= n_seq_few
        with self._between_ticks():
            self._hand_out()  # what was cancelled is in nobody's way
            context = self.context(n_seq_few if is_few else None)
            if self._scheduler is None:
                self._scheduler = _core.Scheduler(context, self.n_ctx)
            ids = self._scheduler.insert(list(requests), cache_prompt)
            ticket = _Ticket(ids, wants_text=wants_text)
            for request in ids:
                self._tickets[request] = ticket
                if wants_text:
                    self._streamed[request] = ticket
            self._hand_out()  # a prompt that is too long is done at once
            return ticket

    def _advance(self, ticket: _Ticket) -> None:
        """Compute for one tick, or wait until another thread has done so."""
        with self._changed:
            if ticket.is_done:
                return
            # A daemon thread waits here until the interpreter ends it.
            if self._driver is not None or self._n_entering or process.is_ending():
                self._changed.wait(_PATIENCE)
                return
            scheduler = self._scheduler
            if scheduler is None:
                raise EngineError("the engine was lost while the request was evaluated")
            self._driver = threading.get_ident()
            # a stream wants every token as soon as it is there, and others their results
            is_streaming = ticket.wants_text or "stream()" in self._calls.values()
            seconds = 0.0 if is_streaming else _TICK
            n_results = len(ticket.ids) - len(ticket.results) if len(self._calls) == 1 else 1
        try:
            is_idle = scheduler.advance(seconds, n_results)
        finally:
            self._stop_driving()
        if is_idle and not ticket.is_done:
            raise EngineError("the engine lost a request")

    def _stop_driving(self) -> None:
        try:
            with self._changed:
                self._hand_out()
        finally:
            self._driver = None
            with self._changed:
                self._changed.notify_all()

    def _hand_out(self) -> None:
        """Drop what was cancelled and hand out results and texts.

        The caller holds the lock, and no other thread computes.
        """
        scheduler = self._scheduler
        if scheduler is None:
            return
        cancelled = []
        while self._cancelled:
            request = self._cancelled.popleft()
            self._tickets.pop(request, None)
            self._streamed.pop(request, None)
            cancelled.append(request)
        if cancelled:
            scheduler.cancel(cancelled)
        while (done := scheduler.next()) is not None:
            request, result = done
            self._streamed.pop(request, None)
            ticket = self._tickets.pop(request, None)
            if ticket is not None:
                if ticket.wants_text:
                    ticket.text += result.text[len(ticket.text) :]
                ticket.results[request] = result
        for request, ticket in self._streamed.items():
            ticket.text += scheduler.settled_text(request, len(ticket.text))
        if self._cached_context is not None and self._cached_context.is_broken:
            self._scheduler = None
            self._cached_context = None

    def _forget(self, ticket: _Ticket) -> None:
        """Cancel what is left of a call. Never waits: whoever computes next drops the requests."""
        unfinished = [request for request in ticket.ids if request not in ticket.results]
        if unfinished:
            self._cancelled.extend(unfinished)
            if self._changed.acquire(blocking=False):
                try:
                    if self._driver is None:
                        self._hand_out()
                finally:
                    self._changed.release()
        _log.flush()
