"""What one more slot costs: the KV cache and the recurrent state of another visit of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rys import _core

__all__ = ["SlotCosts"]


class SlotCosts:
    """What one more slot with a layer costs, measured once for layers that are alike."""

    def __init__(
        self,
        core: _core.Weights,
        params: _core.ContextParams,
        names: Sequence[Sequence[str]],
        *,
        can_repeat: bool,
    ) -> None:
        """Prepare the measurement; nothing is measured yet.

        Args:
            core: The weights, perhaps without their data.
            params: The context that the slot would be in.
            names: Names of the tensors of each layer, without its number.
            can_repeat: Whether any path can visit a layer twice.
        """
        self._core = core
        self._layers = core.layers
        self._params = params
        self._names = names
        self._can_repeat = can_repeat
        self._known: dict[tuple[Any, ...], int] = {}

    def of(self, layer: int, type_k: int, type_v: int) -> int | None:
        """Return what another slot with a layer takes.

        Args:
            layer: The layer.
            type_k: ggml's number of the type of cached keys.
            type_v: The same of cached values.

        Returns:
            Bytes of KV cache and recurrent state; None if no path can visit the layer twice.
        """
        if not self._can_repeat or layer >= self._core.n_layer:
            return None
        before = path_to_repeat_on(self._core, layer)
        if before is None:
            return None
        key = (type_k, type_v, *self._description(layer))
        if key not in self._known:
            with_slot = self._memory_bytes([*before, layer], type_k, type_v)
            self._known[key] = with_slot - self._memory_bytes(before, type_k, type_v)
        return self._known[key]

    def _description(self, layer: int) -> tuple[Any, ...]:
        """Return all that tells how much memory a layer takes."""
        it = self._layers[layer]
        has = (it.has_attention, it.has_window, it.has_kv, it.is_recurrent)
        return (*has, it.n_head, it.n_head_kv, *self._names[layer])

    def _memory_bytes(self, path: list[int], type_k: int, type_v: int) -> int:
        # pybind11 hands parameters over by reference, so those of the caller are put back
        before = (self._params.type_k, self._params.type_v)
        self._params.type_k, self._params.type_v = type_k, type_v
        try:
            return _core.Model(self._core, path).memory_bytes(self._params)
        finally:
            self._params.type_k, self._params.type_v = before


def path_to_repeat_on(core: _core.Weights, layer: int) -> list[int] | None:
    """Return a short path that another slot with the layer may follow, or None if there is none."""
    # lengths double, since a check takes time in models of hundreds of layers
    n_slot = 1
    while True:
        path = list(range(min(n_slot, core.n_layer)))
        if not core.check_path(path) and not core.check_path([*path, layer]):
            return path
        if n_slot >= core.n_layer:
            return None
        n_slot *= 2
