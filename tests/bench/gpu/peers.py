"""lockstep beside Accelerate and torch.distributed, in one process and one loop on every rank.

usage: lockstep run -n N --keep-going python3 peers.py --library LIBLOCKSTEP --calls CALLS PART...
"""

import argparse
import datetime
import faulthandler
import gc
import os
import socket
import sys
import time
import traceback
from ctypes import byref, c_double, c_int, c_uint32, c_void_p

from lockstep_calls import AGAIN, OK, Bit, Lockstep
from measuring import Bench, Failed, us_after, us_of, wait_until

BARRIERS = 100  # of a graph
STEPS = 200
LAUNCHES = 20  # of a step
STEP_US = 2000  # of the GPU, in a step
MATRIX = 3072  # 20 products of this size take about as long on an H100
POLLS = 1000


class Peers:
    """torch, its process group, and Accelerate, for as long as the process lives."""

    def __init__(self, lockstep):
        import torch
        import torch.distributed as dist
        self.torch, self.dist = torch, dist
        self.device = lockstep.local_rank % torch.cuda.device_count()
        torch.cuda.set_device(self.device)
        torch.zeros(1, device="cuda")  # a context: lockstep takes the GPU that is current
        self.gpu = torch.cuda.get_device_name(self.device)
        self.torch_version = torch.__version__

    def join(self, lockstep):
        """What torchrun would have put into the environment, and a group over all ranks."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = lockstep.gather(str(probe.getsockname()[1]))[0]
        os.environ.update(RANK=str(lockstep.rank), WORLD_SIZE=str(lockstep.size),
                          LOCAL_RANK=str(self.device), LOCAL_WORLD_SIZE=str(lockstep.local_size),
                          MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        self.dist.init_process_group("nccl", timeout=datetime.timedelta(seconds=40),
                                     device_id=self.torch.device("cuda", self.device))
        self.dist.barrier(device_ids=[self.device])
        return True

    def accelerate(self):
        import accelerate
        accelerator = accelerate.Accelerator()
        if accelerator.num_processes != self.dist.get_world_size():
            raise RuntimeError(f"Accelerate sees {accelerator.num_processes} processes")
        accelerator.wait_for_everyone()
        accelerator.check_trigger()
        return accelerator


def host_part(bench, peers, accelerator):
    """wait_for_everyone on an idle stream, and after an empty kernel."""
    lockstep, torch, dist = bench.lockstep, peers.torch, peers.dist
    stream = torch.cuda.current_stream()
    handle = stream.cuda_stream
    group = lockstep.split()
    streams = (c_void_p * 1)(handle)
    wait_on = lockstep.bound(lockstep.c.lockstep_wait_for_everyone_on, group, streams, 1,
                             byref(lockstep.limit))
    ours = bench.make("py_host", "lockstep", lambda: wait_on() or True)
    launch = kernel(lockstep, handle)
    waits = {"dist.barrier": lambda: dist.barrier(device_ids=[peers.device]),
             "sync": stream.synchronize}
    if accelerator:
        waits["accelerate"] = accelerator.wait_for_everyone
    if ours:
        waits["lockstep"] = wait_on

    def after(wait):
        def both():
            launch()
            wait()
        return both
    contenders = {}
    for name, wait in waits.items():
        contenders[f"{name}, idle"] = us_of(wait)
        contenders[f"kernel + {name}"] = us_of(after(wait))
        contenders[f"kernel, {name} alone"] = us_after(launch, wait)
    if ours:
        from_c = us_from_c(lockstep, group, handle)
        contenders["lockstep from C, idle"] = from_c
        contenders["kernel, lockstep from C alone"] = lambda: launch() or from_c()
    bench.run("py_host", contenders, rounds=200)


def us_from_c(lockstep, group, stream):
    """What a wait costs a program that is not in Python; in the same process and loop."""
    us = c_double()
    wait_on = lockstep.bound(lockstep.calls.gpu_bench_wait_on, group, c_void_p(stream),
                             byref(lockstep.limit), byref(us))

    def once():
        wait_on()
        return us.value
    return once


def kernel(lockstep, stream):
    return lockstep.bound(lockstep.calls.gpu_bench_empty, c_void_p(stream))


def trigger_part(bench, _, accelerator):
    """Triggers that nobody has set."""
    lockstep = bench.lockstep
    fired = c_int()
    check = lockstep.bound(lockstep.c.lockstep_check_trigger, lockstep.session,
                           byref(lockstep.limit), byref(fired))
    poll = lockstep.bound(lockstep.c.lockstep_poll_trigger, lockstep.session,
                          byref(lockstep.limit), byref(fired))
    native = us_of(lockstep.bound(lockstep.calls.gpu_bench_poll, lockstep.session, c_uint32(POLLS)))

    def polls():
        for _ in range(POLLS):
            poll()
    from_python = us_of(polls)
    bench.run("py_trigger", {
        "accelerate check_trigger": us_of(accelerator.check_trigger) if accelerator else None,
        "lockstep_check_trigger": us_of(check),
        "lockstep_poll_trigger": lambda: native() / POLLS,
        "lockstep_poll_trigger from Python": lambda: from_python() / POLLS,
    }, rounds=200)


class DeviceTime:
    """The GPU's time between two points of a stream."""

    def __init__(self, torch, stream):
        self.stream = stream
        self.begin = torch.cuda.Event(enable_timing=True)
        self.end = torch.cuda.Event(enable_timing=True)

    def us(self, enqueue):
        self.begin.record(self.stream)
        enqueue()
        self.end.record(self.stream)
        wait_until(self.end.query)
        return self.begin.elapsed_time(self.end) * 1000


def repeated(function, times):
    def call():
        for _ in range(times):
            function()
    return call


def symmetric_barrier(torch, dist):
    """torch's barrier of GPUs that reach each other's memory."""
    import torch.distributed._symmetric_memory as symmetric
    memory = symmetric.empty(1024, dtype=torch.float32, device=torch.device("cuda"))
    try:
        handle = symmetric.rendezvous(memory, dist.group.WORLD)
    except TypeError:  # older: by name
        handle = symmetric.rendezvous(memory, dist.group.WORLD.group_name)

    def barrier(_keeps=memory):
        handle.barrier(channel=0)
    return barrier


def stream_barrier(lockstep, stream):
    """lockstep's, ready to be captured."""
    group = lockstep.split()
    lockstep.check(lockstep.c.lockstep_stream_barrier_prepare(group, byref(lockstep.patience)))
    return lockstep.bound(lockstep.c.lockstep_stream_barrier, group, c_void_p(stream.cuda_stream),
                          byref(lockstep.limit))


def captured(torch, stream, function):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        function()
    return graph


def graph_part(bench, peers, _):
    """lockstep's stream barrier beside torch's, first one by one, then in a CUDA graph."""
    lockstep, torch = bench.lockstep, peers.torch
    stream = torch.cuda.Stream()
    timer = DeviceTime(torch, stream)
    makers = {"empty": lambda: kernel(lockstep, stream.cuda_stream),
              "lockstep": lambda: stream_barrier(lockstep, stream),
              "torch symm-mem": lambda: symmetric_barrier(torch, peers.dist)}
    barriers = {name: bench.make("py_eager", name, maker) for name, maker in makers.items()}
    barriers = {name: barrier for name, barrier in barriers.items() if barrier}

    def per_barrier(function):
        return lambda: timer.us(function) / BARRIERS
    with torch.cuda.stream(stream):
        bench.run("py_eager", {name: per_barrier(repeated(barrier, BARRIERS))
                               for name, barrier in barriers.items()}, rounds=20)
        graphs = {name: bench.make("py_graph", name,
                                   lambda b=barrier: captured(torch, stream, repeated(b, BARRIERS)))
                  for name, barrier in barriers.items()}
        bench.run("py_graph", {name: per_barrier(graph.replay)
                               for name, graph in graphs.items() if graph}, rounds=20)


class Loop:
    """A training loop whose host runs ahead of its GPU, with something at the end of each step."""

    def __init__(self, bench, peers, stream, work):
        self.bench, self.lockstep, self.stream, self.work = bench, bench.lockstep, stream, work
        self.in_call = {}  # name: host's time in the call, us a step
        self.in_look = []  # host's time until the last step's result is there
        self.torch = peers.torch

    def timed(self, steps):
        """Host's time for all of them, us a step, until the GPU has done them."""
        clock = time.perf_counter_ns
        done = self.torch.cuda.Event()

        def once():
            start = clock()
            steps()
            done.record(self.stream)
            wait_until(done.query)
            return (clock() - start) / 1000 / STEPS
        return once

    def nothing(self):
        for _ in range(STEPS):
            self.work()

    def calling(self, name, call):
        clock = time.perf_counter_ns

        def steps():
            spent = 0
            for _ in range(STEPS):
                self.work()
                start = clock()
                call()
                spent += clock() - start
            self.in_call.setdefault(name, []).append(spent / 1000 / STEPS)
        return self.timed(steps)

    def with_barrier(self):
        """Each step's bits are looked at in the next one, whose work the GPU has by then."""
        lockstep = self.lockstep
        group, trigger, bit = lockstep.split(), c_void_p(), Bit()
        lockstep.check(lockstep.c.lockstep_trigger_open(group, b"stop", None, byref(trigger)))
        lockstep.check(lockstep.c.lockstep_stream_barrier_bind(trigger, byref(bit),
                                                               byref(lockstep.patience)))
        barrier = lockstep.bound(lockstep.c.lockstep_stream_barrier, group,
                                 c_void_p(self.stream.cuda_stream), byref(lockstep.limit))
        test, bits = lockstep.c.lockstep_stream_barrier_test, c_uint32()
        clock = time.perf_counter_ns
        last = 0  # number of the last barrier that was enqueued

        def is_over(number):
            status = test(group, number, byref(bits), None)
            if status not in (OK, AGAIN):
                lockstep.check(status)
            if status == OK and bits.value & bit.mask:
                raise RuntimeError("nobody has raised the trigger, but it was agreed on")
            return status == OK

        def steps():
            nonlocal last
            calling = looking = 0
            for step in range(STEPS):
                self.work()
                start = clock()
                barrier()
                enqueued = clock()
                last += 1
                if step > 0:
                    wait_until(lambda: is_over(last - 1))
                calling += enqueued - start
                looking += clock() - enqueued
            wait_until(lambda: is_over(last))
            self.in_call.setdefault("lockstep stream barrier", []).append(calling / 1000 / STEPS)
            self.in_look.append(looking / 1000 / STEPS)
        return self.timed(steps)


def matrix_work(torch):
    a, b = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)

    def step():
        for _ in range(LAUNCHES):
            torch.mm(a, b, out=out)
    step()
    torch.cuda.synchronize()
    return step


def timer_work(lockstep, stream):
    """The same time in every step: shows what is added without the noise of clocks and power."""
    return repeated(lockstep.bound(lockstep.calls.gpu_bench_busy, c_void_p(stream.cuda_stream),
                                   STEP_US * 1000 // LAUNCHES), LAUNCHES)


def loop_part(bench, peers, accelerator):
    """What each way to agree adds to a step."""
    lockstep, torch = bench.lockstep, peers.torch
    stream = torch.cuda.Stream()
    fired = c_int()
    poll = lockstep.bound(lockstep.c.lockstep_poll_trigger, lockstep.session, byref(lockstep.limit),
                          byref(fired))
    with torch.cuda.stream(stream):
        for kind, maker in (("timer", lambda: timer_work(lockstep, stream)),
                            ("matrices", lambda: matrix_work(torch))):
            part = f"py_loop {kind}"
            work = bench.make(part, "work", maker)
            if not work:
                continue
            loop = Loop(bench, peers, stream, work)
            barrier = bench.make(part, "lockstep stream barrier", loop.with_barrier)
            check = accelerator.check_trigger if accelerator else None
            bench.run(part, {
                "nothing": loop.timed(loop.nothing),
                "accelerate check_trigger":
                    loop.calling("accelerate check_trigger", check) if check else None,
                "lockstep_poll_trigger": loop.calling("lockstep_poll_trigger", poll),
                "lockstep stream barrier": barrier,
            }, rounds=1, warm_up=1)
            for name, spent in loop.in_call.items():
                bench.report(part, f"{name}, host in the call", spent[1:], "us")
            bench.report(part, "lockstep stream barrier, host until the last step's result",
                         loop.in_look[1:], "us")


PARTS = {"host": host_part, "trigger": trigger_part, "graph": graph_part, "loop": loop_part}


def measure(options):
    lockstep = Lockstep(options.library, options.calls)
    faulthandler.dump_traceback_later(60, exit=True)
    peers = Peers(lockstep)
    bench = Bench(lockstep, peers.gpu, options.blocks)
    faulthandler.cancel_dump_traceback_later()
    if not bench.make("py", "torch.distributed", lambda: peers.join(lockstep)):
        return 3
    accelerator = bench.make("py", "accelerate", peers.accelerate)
    gc.collect()
    gc.disable()  # for everybody alike
    status = 0
    for name in options.parts:
        try:
            PARTS[name](bench, peers, accelerator)
        except Failed:
            status = 3
            break  # what is stuck on the GPU would be in the way of the next
    lockstep.leave()
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True, help="liblockstep.so")
    parser.add_argument("--calls", required=True, help="libgpu_bench_calls.so")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("parts", nargs="+", choices=sorted(PARTS))
    status = 1
    try:
        status = measure(parser.parse_args())
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc(file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # torch would wait for what is stuck on the GPU


if __name__ == "__main__":
    main()
