"""lockstep's C interface for peers.py, by ctypes: as much of it as is measured there."""

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int, c_int64, c_size_t
from ctypes import c_uint32, c_uint64, c_void_p

OK = 0
AGAIN = 1
SECOND = 1_000_000_000


class Call(Structure):
    """lockstep_call_t"""
    _fields_ = [("name", c_char_p), ("file", c_char_p), ("line", c_uint32), ("timeout_ns", c_int64)]


class Bit(Structure):
    """lockstep_stream_bit_t"""
    _fields_ = [("mask", c_uint32), ("padding", c_uint32), ("raised", c_void_p),
                ("agreed", c_void_p)]


CALL = POINTER(Call)
# Name: result, arguments. Every other function returns a status.
VALUES = {
    "lockstep_last_error": (c_char_p, []),
    "lockstep_session_rank": (c_uint32, [c_void_p]),
    "lockstep_session_size": (c_uint32, [c_void_p]),
    "lockstep_session_local_rank": (c_uint32, [c_void_p]),
    "lockstep_session_local_size": (c_uint32, [c_void_p]),
    "lockstep_session_node_count": (c_uint32, [c_void_p]),
    "lockstep_session_job": (c_void_p, [c_void_p]),
    "lockstep_group_free": (None, [c_void_p]),
    "lockstep_free": (None, [c_void_p]),
}
STATUSES = {
    "lockstep_session_join": [POINTER(c_void_p)],
    "lockstep_session_leave": [c_void_p],
    "lockstep_group_split": [c_void_p, c_uint32, CALL, POINTER(c_void_p)],
    "lockstep_gather": [c_void_p, c_char_p, c_size_t, CALL, POINTER(c_void_p), POINTER(c_size_t)],
    "lockstep_wait_for_everyone": [c_void_p, CALL],
    "lockstep_wait_for_everyone_on": [c_void_p, POINTER(c_void_p), c_uint32, CALL],
    "lockstep_check_trigger": [c_void_p, CALL, POINTER(c_int)],
    "lockstep_poll_trigger": [c_void_p, CALL, POINTER(c_int)],
    "lockstep_trigger_open": [c_void_p, c_char_p, c_void_p, POINTER(c_void_p)],
    "lockstep_stream_barrier_prepare": [c_void_p, CALL],
    "lockstep_stream_barrier": [c_void_p, c_void_p, CALL],
    "lockstep_stream_barrier_test": [c_void_p, c_uint64, POINTER(c_uint32), POINTER(c_uint64)],
    "lockstep_stream_barrier_bind": [c_void_p, POINTER(Bit), CALL],
}


class Lockstep:
    """One session, and the functions with their types. Failures are exceptions."""

    def __init__(self, library, calls):
        self.c = ctypes.CDLL(library)
        for name, (result, arguments) in VALUES.items():
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, arguments
        for name, arguments in STATUSES.items():
            function = getattr(self.c, name, None)  # older libraries lack some: said when called
            if function is not None:
                function.restype, function.argtypes = c_int, arguments
        self.calls = ctypes.CDLL(calls)
        self.calls.gpu_bench_empty.argtypes = [c_void_p]
        self.calls.gpu_bench_busy.argtypes = [c_void_p, c_uint64]
        self.calls.gpu_bench_wait_on.argtypes = [c_void_p, c_void_p, CALL, POINTER(c_double)]
        self.calls.gpu_bench_poll.argtypes = [c_void_p, c_uint32]
        self.session = c_void_p()
        self.check(self.c.lockstep_session_join(byref(self.session)))
        self.rank = self.c.lockstep_session_rank(self.session)
        self.size = self.c.lockstep_session_size(self.session)
        self.local_rank = self.c.lockstep_session_local_rank(self.session)
        self.local_size = self.c.lockstep_session_local_size(self.session)
        self.nodes = self.c.lockstep_session_node_count(self.session)
        self.limit = Call(None, b"peers.py", 0, 20 * SECOND)  # of a round
        # Of those who wait for one that fails to make something, which takes its time.
        self.patience = Call(None, b"peers.py", 0, 90 * SECOND)
        self.control = self.split(self.c.lockstep_session_job(self.session))

    def check(self, status):
        if status != OK:
            raise RuntimeError(self.c.lockstep_last_error().decode(errors="replace"))

    def split(self, parent=None):
        """A new group of all: what breaks in it breaks nothing else."""
        group = c_void_p()
        parent = parent if parent is not None else self.control
        self.check(self.c.lockstep_group_split(parent, 0, byref(self.patience), byref(group)))
        return group

    def gather(self, text):
        """Everybody's text, by rank, on all."""
        data = text.encode()
        memory = c_void_p()
        lengths = (c_size_t * self.size)()
        self.check(self.c.lockstep_gather(self.control, data, len(data), byref(self.patience),
                                          byref(memory), lengths))
        texts, at = [], memory.value or 0
        for length in lengths:
            texts.append(ctypes.string_at(at, length).decode(errors="replace") if length else "")
            at += length
        self.c.lockstep_free(memory)
        return texts

    def leave(self):
        self.check(self.c.lockstep_session_leave(self.session))

    def bound(self, function, *arguments):
        """The call, without arguments, which have their C types already. What fails is no time."""
        def call():
            status = function(*arguments)
            if status != OK:  # of the helpers: CUDA's, and the text is another's
                text = self.c.lockstep_last_error().decode(errors="replace")
                raise RuntimeError(f"{function.__name__}: {status}: {text}")
        return call
