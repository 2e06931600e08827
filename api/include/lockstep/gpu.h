/* The third table of the plugin ABI: what a plugin knows about the GPUs of this process. Asked by
 * the runtime, which links no GPU library itself. Part of lockstep/transport.h's contract:
 * append only. docs/write-a-plugin.md and docs/gpus.md say what for. */
#ifndef LOCKSTEP_GPU_H
#define LOCKSTEP_GPU_H

#include "lockstep/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes of a GPU's UUID, in the order in which its text shows them. */
#define LOCKSTEP_GPU_UUID_BYTES 16u

/** Whether two GPUs reach each other's memory without the host, in both directions. */
typedef enum lockstep_gpu_reach {
  LOCKSTEP_GPU_APART = 0,      /**< they do not */
  LOCKSTEP_GPU_REACHES = 1,    /**< they do */
  LOCKSTEP_GPU_CANNOT_TELL = 2 /**< one of them is hidden from this process */
} lockstep_gpu_reach_t;

/** One GPU, or an instance of one (MIG): what a process computes on. */
typedef struct lockstep_gpu_device {
  uint32_t size;        /**< in: sizeof this struct in the caller; a plugin writes no further */
  uint32_t is_instance; /**< 1: a MIG instance, whose UUID is its own; otherwise 0 */
  uint64_t memory;      /**< in bytes */
  uint8_t uuid[LOCKSTEP_GPU_UUID_BYTES];
  /** The NVLink domain between nodes that it is part of; all bytes 0: none, or not known. */
  uint8_t fabric[LOCKSTEP_GPU_UUID_BYTES];
  uint32_t clique;  /**< GPUs of one fabric reach each other if this is the same, too */
  uint32_t padding; /**< 0 */
  char address[24]; /**< on the PCI bus, "0000:1b:00.0"; always terminated */
  char name[96];    /**< "NVIDIA H200"; always terminated, cut if longer */
} lockstep_gpu_device_t;

/** Most streams that one drain waits for. */
#define LOCKSTEP_GPU_STREAMS_MAX 64u

/** Most GPUs of a node that meet in one barrier. */
#define LOCKSTEP_GPU_PEERS_MAX 32u
/** How many results of a barrier are kept. */
#define LOCKSTEP_GPU_RESULTS 64u
/** Of a barrier's word: its number modulo 2^32 is in the upper half, what was raised in the lower
 * 31 bits, and this bit says that it has failed, as have all later ones. */
#define LOCKSTEP_GPU_BROKEN 0x80000000u

/** Why a barrier has failed. */
typedef enum lockstep_gpu_cause {
  LOCKSTEP_GPU_WHOLE = 0,   /**< it has not */
  LOCKSTEP_GPU_LATE = 1,    /**< `missing` have not come in time */
  LOCKSTEP_GPU_STOPPED = 2, /**< the host has said so, by `give_up` or `released` */
  LOCKSTEP_GPU_TOLD = 3     /**< another member's has */
} lockstep_gpu_cause_t;

/** How a GPU and its host hear of each other: page-locked memory of the plugin's. Each word is
 * written whole; what a member has read of a word's number it has read for good. */
typedef struct lockstep_gpu_line {
  /** By the GPU: word of barrier n at n % LOCKSTEP_GPU_RESULTS, once it is over; of such as were
   * enqueued to report, and of such as have failed. */
  uint64_t results[LOCKSTEP_GPU_RESULTS];
  uint64_t arrived; /**< by the GPU of member 0, if it is carried: all here have come */
  uint64_t cause;   /**< by the GPU, before the broken word: lockstep_gpu_cause_t */
  uint64_t missing; /**< by the GPU, before `cause`: bit i: member i had not come */
  uint64_t limit_ns; /**< by the GPU of member 0, before `arrived`: how long the others may take */
  uint64_t padding[4];
  uint64_t released; /**< by the host of member 0, if it is carried: others have come, too */
  uint64_t give_up;  /**< by the host: not 0: the barrier fails, if it has not ended */
  uint64_t room[6];
} lockstep_gpu_line_t;

/** What a member's part of a barrier is to be. */
typedef struct lockstep_gpu_barrier_setup {
  uint32_t size;       /**< sizeof this struct in the caller */
  uint32_t member;     /**< this one's number */
  uint32_t members;    /**< on GPUs that reach each other; 1 to LOCKSTEP_GPU_PEERS_MAX */
  uint32_t is_carried; /**< 1: there are others, whom the host of member 0 meets */
} lockstep_gpu_barrier_setup_t;

/** A member's part of a barrier, as its host and its kernels see it. */
typedef struct lockstep_gpu_barrier_view {
  uint32_t size;             /**< in: sizeof this struct in the caller */
  int32_t memory;            /**< a descriptor of what the others open, for the caller to close; -1:
                                there is nobody else */
  lockstep_gpu_line_t *line; /**< until `barrier_close` */
  uint32_t *raised;          /**< on the GPU: kernels set bits, the next barrier takes them */
  const uint32_t *agreed;    /**< on the GPU: lower half of the last word, for later kernels */
} lockstep_gpu_barrier_view_t;

/** GPUs of this process.
 *
 * All calls on one `self` and its barriers come from one thread at a time, not always the same; but
 * `barrier_enqueue` and `barrier_drain` may come while others are in any call, if not in
 * `barrier_enqueue` of the same barrier. None changes the caller's current context; none but those
 * about barriers makes one, or waits for a GPU. `open` may take as long as the driver takes to
 * start (about a second), others milliseconds. */
typedef struct lockstep_gpu {
  uint32_t size; /**< sizeof this struct in the plugin; later fields count as absent */
  /** Loads and starts the driver. Sets *self_p on LOCKSTEP_OK only: at least one GPU can be used
   * then. LOCKSTEP_E_UNSUPPORTED: there is no driver, or no GPU for this process, found out at
   * once; LOCKSTEP_E_RESOURCE: it is there and fails. `why` (always terminated) says what to do. */
  lockstep_status_t (*open)(const lockstep_environment_t *environment, void **self_p, char *why,
                            size_t why_size);
  /** Gives back everything; the driver itself stays loaded, as others may use it. */
  void (*close)(void *self);
  /** The driver's and its interface's versions in one line; valid until `close`. */
  const char *(*driver)(void *self);
  /** How many GPUs this process can use; their ordinals are those that CUDA counts, after
   * CUDA_VISIBLE_DEVICES. The same as long as it is open. */
  uint32_t (*count)(void *self);
  /** Fills *device_p, as far as device_p->size goes. LOCKSTEP_E_INVALID: no such ordinal, or
   * NULL; then nothing is written. */
  lockstep_status_t (*device)(void *self, uint32_t ordinal, lockstep_gpu_device_t *device_p);
  /** The ordinal of the GPU that the calling thread's current context is on; -1: it has none. */
  int32_t (*current)(void *self);
  /** Whether two different GPUs of this node reach each other, also such as this process does not
   * use. Symmetric. LOCKSTEP_GPU_CANNOT_TELL where this process may not see one of them. */
  lockstep_gpu_reach_t (*reaches)(void *self, const uint8_t *a_uuid, const uint8_t *b_uuid);
  /** Begins to wait for all that these streams (cudaStream_t, CUstream) have been given so far, and
   * for nothing else: no kernel, and no wait for a device. Returns at once. NULL is the default
   * stream of the thread's current context. On LOCKSTEP_OK *ticket_p is 0 if all of them are idle,
   * else it is to be tested until it is over. LOCKSTEP_E_STATE: one is being captured into a graph,
   * which is not disturbed; LOCKSTEP_E_INVALID: one is no stream; LOCKSTEP_E_RESOURCE: the GPU has
   * failed; LOCKSTEP_E_LIMIT: too many. On failure `why` says which, and nothing is to be tested.
   */
  lockstep_status_t (*drain_start)(void *self, void *const *streams, uint32_t count,
                                   uint64_t *ticket_p, char *why, size_t why_size);
  /** LOCKSTEP_AGAIN until all is done; then LOCKSTEP_OK, or LOCKSTEP_E_RESOURCE if the GPU has
   * failed, and the ticket is over. Below a microsecond nearly always. */
  lockstep_status_t (*drain_test)(void *self, uint64_t ticket, char *why, size_t why_size);
  /** Ends a ticket that nobody waits for any more; the streams go on. */
  void (*drain_drop)(void *self, uint64_t ticket);

  /** Makes this member's part of a barrier on the GPU of the thread's current context; where there
   * is none, of `ordinal`, in its primary context. LOCKSTEP_E_UNSUPPORTED: this plugin or this GPU
   * has no such barriers; LOCKSTEP_E_STATE: the current context is on another GPU than `ordinal`;
   * LOCKSTEP_E_RESOURCE. Tens of milliseconds, and a few MiB of the GPU. NULL, as the five below:
   * the plugin has none at all. */
  lockstep_status_t (*barrier_open)(void *self, uint32_t ordinal,
                                    const lockstep_gpu_barrier_setup_t *setup, void **barrier_p,
                                    lockstep_gpu_barrier_view_t *view_p, char *why,
                                    size_t why_size);
  /** Opens another member's memory, which stays the caller's to close. Once for each, before the
   * first `barrier_enqueue`. LOCKSTEP_E_UNSUPPORTED: they cannot reach it. */
  lockstep_status_t (*barrier_connect)(void *barrier, uint32_t member, int32_t memory, char *why,
                                       size_t why_size);
  /** Enqueues the next barrier and returns at once. It fails `limit_ns` (0: never) after the stream
   * has come to it. `reports`: 0: its result is not written to the line if it succeeds, which takes
   * the GPU longer than the rest. *is_captured_p: 1: it went into a CUDA graph, and is the next one
   * whenever that runs. LOCKSTEP_E_INVALID: no stream, or of another context. */
  lockstep_status_t (*barrier_enqueue)(void *barrier, void *stream, uint64_t limit_ns,
                                       uint32_t reports, uint32_t *is_captured_p, char *why,
                                       size_t why_size);
  /** Asks the GPU how far it is, which takes microseconds and disturbs no capture: the number of
   * the last barrier that is over, 0: none, and the lower half of its word. */
  lockstep_status_t (*barrier_ask)(void *barrier, uint64_t *number_p, uint32_t *low_p, char *why,
                                   size_t why_size);
  /** Waits until this member's GPU has done all that it was given; a failed GPU is done. */
  void (*barrier_drain)(void *barrier);
  /** Ends this member's part; `line` is gone. After `barrier_drain`. */
  void (*barrier_close)(void *barrier);
} lockstep_gpu_t;

#ifdef __cplusplus
}
#endif
#endif
