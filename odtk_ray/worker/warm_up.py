"""What a worker does before it knows the plan: imports, and what its GPU can do."""

from __future__ import annotations

import contextlib
import importlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from odtk_ray.dispatch.agreement import GpuAbilities
from odtk_ray.settings import Decoder
from odtk_ray.worker.gpu_trial import found_abilities


@dataclass(frozen=True)
class Needs:
    """What every engine of a run will need.

    Attributes:
        module: that the engines are in; None imports nothing.
        gpu: whether the GPU decides about the plan.
        decoder: the decoder that the user asked for.
        all_decoders: whether the plan may take another decoder than this GPU's best.
    """

    module: str | None = None
    gpu: bool = False
    decoder: Decoder | None = None
    all_decoders: bool = False


class WarmUp:
    """Makes a process ready while the driver reads the model and plans.

    The imports of an engine and CUDA's start take three seconds each, and hardly wait for each
    other. The two threads share no package that imports its own modules: a thread could meet half
    of a module there.

    Args:
        needs: what to make ready.
    """

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._abilities: Future[GpuAbilities] = Future()
        self._engine_made = threading.Event()
        self._imports = threading.Thread(target=self._import, daemon=True)
        self._imports.start()
        if needs.gpu:
            threading.Thread(target=self._find, daemon=True).start()

    def abilities(self) -> GpuAbilities:
        """Return what the GPU can do, whatever the launch."""
        return self._abilities.result()

    def wait_for_imports(self) -> None:
        """Wait until nothing is imported any more."""
        self._imports.join()

    def end(self) -> None:
        """Let go of the GPU, which an engine uses by now."""
        self._engine_made.set()

    def _import(self) -> None:
        if self._needs.module is None:
            return
        with contextlib.suppress(Exception):  # who needs it will say what is wrong with it
            importlib.import_module(self._needs.module)

    def _find(self) -> None:
        """Find what the GPU can do; its context stays, as the next one would take a second."""
        try:
            with found_abilities(self._needs.decoder, every=self._needs.all_decoders) as found:
                self._abilities.set_result(found)
                self._engine_made.wait()
        except Exception as error:
            if not self._abilities.done():
                self._abilities.set_exception(error)
