"""Contenders in interleaved blocks for peers.py, and what rank 0 prints of them."""

import ctypes
import faulthandler
import json
import statistics
import sys
import time
import traceback

MAKE_LIMIT_S = 60  # to make something, or to measure a block; then the process ends
GPU_LIMIT_S = 10
WARM_UP = 20


class Failed(RuntimeError):
    """All ranks know of it."""


class Bench:
    def __init__(self, lockstep, gpu, blocks):
        self.lockstep = lockstep
        self.gpu = gpu
        self.blocks = blocks
        self.common = {"ranks": lockstep.size, "nodes": lockstep.nodes, "gpu": gpu}

    def print(self, line):
        if self.lockstep.rank == 0:
            print(json.dumps({**line, **self.common}), flush=True)

    def agree(self, part, name, why):
        """True if nobody has failed; otherwise it is printed who has, and why."""
        texts = self.lockstep.gather(why)
        failed = "; ".join(f"rank {rank}: {text}" for rank, text in enumerate(texts) if text)
        if failed:
            self.print({"part": part, "tag": "", "name": name, "failed": failed})
        return not failed

    def make(self, part, name, function):
        """What it returns, on all ranks, or None on all of them."""
        made, why = None, ""
        faulthandler.dump_traceback_later(MAKE_LIMIT_S, exit=True)
        try:
            made = function()
        except Exception as error:  # pylint: disable=broad-except
            why = f"{type(error).__name__}: {error}"[:600]
            traceback.print_exc(file=sys.stderr)
        finally:
            faulthandler.cancel_dump_traceback_later()
        return made if self.agree(part, name, why) else None

    def run(self, part, contenders, rounds, unit="us", warm_up=WARM_UP):
        """contenders: name to a function that does it once and returns how long that took, or None,
        which is left out. Prints also after a failure, which it then raises."""
        contenders = {name: once for name, once in contenders.items() if once is not None}
        blocks = {name: [] for name in contenders}
        why = ""
        try:
            self._measure(contenders, rounds, warm_up, blocks)
        except Exception as error:  # pylint: disable=broad-except
            why = f"{type(error).__name__}: {error}"[:600]
            traceback.print_exc(file=sys.stderr)
        finally:
            faulthandler.cancel_dump_traceback_later()
        for name, values in blocks.items():
            self.report(part, name, values, unit)
        if not self.agree(part, "blocks", why):
            raise Failed(part)

    def _measure(self, contenders, rounds, warm_up, blocks):
        lockstep = self.lockstep
        align, limit = lockstep.split(), ctypes.byref(lockstep.limit)
        wait = lockstep.c.lockstep_wait_for_everyone
        for block in range(-1, self.blocks):
            for name, once in contenders.items():
                faulthandler.dump_traceback_later(MAKE_LIMIT_S, exit=True)
                times = []
                for _ in range(rounds if block >= 0 else warm_up):
                    lockstep.check(wait(align, limit))
                    times.append(once())
                if block >= 0:
                    blocks[name].append(statistics.median(times))
        lockstep.c.lockstep_group_free(align)

    def report(self, part, name, values, unit):
        if values:
            self.print({"part": part, "tag": "", "name": name, "unit": unit,
                        "median": statistics.median(values), "least": min(values),
                        "most": max(values), "blocks": values})


def us_of(function):
    """Host's time of one call, as a contender."""
    clock = time.perf_counter_ns

    def once():
        start = clock()
        function()
        return (clock() - start) / 1000
    return once


def us_after(before, function):
    """The same, without what comes before it."""
    clock = time.perf_counter_ns

    def once():
        before()
        start = clock()
        function()
        return (clock() - start) / 1000
    return once


def wait_until(is_over):
    """Spins, not forever."""
    until = time.monotonic() + GPU_LIMIT_S
    while not is_over():
        if time.monotonic() > until:
            raise TimeoutError(f"the GPU has not done its work in {GPU_LIMIT_S} s")
