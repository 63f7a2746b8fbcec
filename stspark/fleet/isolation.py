"""Tries models in a forked child, which can be killed: compiled code that never ends, too much memory, a crash.

A worker forks one child for all its fits, with the models already imported, and replaces it only when a fit has
killed it or had to be killed. Regions travel once, forecasts and parameters come back; each exchange costs well below
a millisecond.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from stspark.fleet.attempt import Failed, FitTimeout, Made, Plan, Region, Skipped, attempt_here
from stspark.models.base import Forecaster, Parameters

GRACE = 1.0
"""Seconds beyond the limit after which the child is killed: until then its own signal may stop Python code."""
_KILLED_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""


class Child:
    """A process of its own for the fits of one worker; use as a context manager.

    Where the fit exceeds its time in compiled code, exhausts its memory, or ends its process, only that try is lost:
    the next one finds a new child.
    """

    def __init__(self, models: Sequence[Forecaster], plan: Plan) -> None:
        self._models, self._plan = list(models), plan
        self._process: ForkProcess | None = None
        self._pipe: Connection[Any, Any] | None = None
        self._region: Region | None = None
        self.started = 0

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def attempt(
        self, model: Forecaster, kept: Parameters | None, region: Region, cutoff: np.datetime64, plan: Plan
    ) -> Made:
        """As `attempt_here`, in the child, but for models that say that they are `closed_form`.

        Raises Failed with what the model raised, or how the child ended.
        """
        if getattr(model, "closed_form", False):
            return attempt_here(model, kept, region, cutoff, plan)
        place = next(i for i, known in enumerate(self._models) if known is model)
        if self._process is not None and not self._process.is_alive():
            self.stop()  # the kernel took it between two fits
        pipe = self._pipe or self._start()
        try:
            if self._region is not region:
                pipe.send(region)
                self._region = region
            pipe.send((place, kept, cutoff))
            if not pipe.poll(plan.fit_seconds + GRACE):
                self.stop()
                raise FitTimeout
            answer = pipe.recv()
        except (EOFError, OSError):  # it ended before it answered
            raise Failed(self._last_words()) from None
        if isinstance(answer, Made):
            return answer
        kind, words, spent = answer
        if spent:
            self.stop()
        if kind == "timeout":
            raise FitTimeout
        raise (Skipped if kind == "skipped" else Failed)(words)

    def stop(self) -> None:
        """Kill the child and what it started, if there is one."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = self._region = None
        if pipe is not None:
            pipe.close()
        if process is not None and process.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
            process.close()

    def _start(self) -> Connection[Any, Any]:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, ours, self._models, self._plan), daemon=True)
        process.start()
        theirs.close()
        self._process, self._pipe = process, ours
        ours.recv()  # it leads its own process group by now
        self.started += 1
        return ours

    def _last_words(self) -> str:
        """How the child ended by itself."""
        assert self._process is not None
        self._process.join()
        code = self._process.exitcode
        self.stop()
        if code is not None and code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process ended itself with exit code {code}"


def _serve(pipe: Connection[Any, Any], others: Connection[Any, Any], models: list[Forecaster], plan: Plan) -> None:
    """The child's life: regions and tries in, outcomes out, until the worker closes the pipe."""
    others.close()
    _settle(plan.fit_megabytes)
    pipe.send("ready")
    region: Region | None = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            message = pipe.recv()
            if isinstance(message, Region):
                region = message
                continue
            place, kept, cutoff = message
            assert region is not None
            pipe.send(_answer(models[place], kept, region, cutoff, plan))


def _answer(
    model: Forecaster, kept: Parameters | None, region: Region, cutoff: np.datetime64, plan: Plan
) -> Made | tuple[str, str, bool]:
    """Made, or (kind, words, whether the process should be replaced)."""
    try:
        return attempt_here(model, kept, region, cutoff, plan)
    except Skipped as reason:
        return "skipped", str(reason), False
    except FitTimeout:
        return "timeout", "", False
    except MemoryError as error:
        return "failed", f"{error!r}, more than {plan.fit_megabytes} MB", True
    except Exception as error:  # noqa: BLE001  whatever a model raises costs only itself, and is written down
        return "failed", repr(error), False


def _settle(megabytes: int) -> None:
    """Lead a process group, die with the worker, be the first to go when memory is short, and stay within bounds."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_KILLED_WITH_PARENT, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        limit = (_data_kilobytes() + 1024 * megabytes) * 1024
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _data_kilobytes() -> int:
    """Private writable memory that the process has asked for (Linux: VmData)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1])
    return 0
