/* The plugin ABI: how lockstep reaches other nodes. One exported symbol, one table, append only.
 *
 * A plugin is a shared object named lockstep_<name>.so that exports `lockstep_plugin`. It offers a
 * transport (frames from rank to rank), a group operation (a whole group combines a vector), what
 * it knows about GPUs (lockstep/gpu.h), or several of these. The runtime loads plugins by name,
 * never by scanning memory; `lockstep info` prints what each one answered. Start from plugins/loop
 * and read docs/write-a-plugin.md. */
#ifndef LOCKSTEP_TRANSPORT_H
#define LOCKSTEP_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "lockstep/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Must match exactly. Raised only when a field changes its meaning; new fields are appended and
 * found through `size`. */
#define LOCKSTEP_PLUGIN_ABI 1u

/** Longest frame in bytes that a transport must carry in one piece. */
#define LOCKSTEP_FRAME_MAX 1152u

/** Longest address in bytes that a transport may have. */
#define LOCKSTEP_ADDRESS_MAX 2048u

/** Longest vector in bytes that a group operation must combine. */
#define LOCKSTEP_VECTOR_MAX 1024u

enum {
  LOCKSTEP_LOG_ERROR = 0,
  LOCKSTEP_LOG_WARN = 1,
  LOCKSTEP_LOG_INFO = 2,
  LOCKSTEP_LOG_DEBUG = 3
};

/** What the runtime tells a plugin. Borrowed: valid during the call that gets it, except `log` and
 * `context`, which stay valid until `close` returns. */
typedef struct lockstep_environment {
  uint32_t size;         /**< sizeof this struct in the runtime; later fields are absent */
  uint32_t rank;         /**< this process in the job */
  uint32_t ranks;        /**< processes in the job */
  uint32_t peers;        /**< a guess of how many peers will be connected, for tuning */
  const char *interface; /**< network interface to bind to, or "" for the plugin's own choice */
  void (*log)(void *context, int level, const char *text);
  void *context;
} lockstep_environment_t;

/** Where `poll` hands over what happened. Both functions are called only from within `poll`, on the
 * thread that called it; they do not call back into the transport. */
typedef struct lockstep_inbox {
  void *context;
  /** One whole frame. `frame` is borrowed and valid only during the call. */
  void (*deliver)(void *context, const void *frame, size_t length);
  /** `peer` cannot be reached any more; said once per peer. */
  void (*lost)(void *context, uint32_t peer);
} lockstep_inbox_t;

/** Frames between two ranks: reliable, in any order, possibly repeated.
 *
 * All calls on one `self` come from one thread at a time. No call blocks, and none but `open`,
 * `connect` and `close` may take longer than a few microseconds. */
typedef struct lockstep_transport {
  uint32_t size; /**< sizeof this struct in the plugin; later fields count as absent */
  /** Set *self_p on LOCKSTEP_OK only; otherwise `why` (always terminated) says what to do. */
  lockstep_status_t (*open)(const lockstep_environment_t *environment, void **self_p, char *why,
                            size_t why_size);
  /** Gives back everything; frames still queued are sent if the peer is there, for 1 s at most. */
  void (*close)(void *self);
  /** Copies this process's address. In: capacity in *length_p; out: bytes used.
   * LOCKSTEP_E_LIMIT if it does not fit. */
  lockstep_status_t (*address)(void *self, void *buffer, size_t *length_p);
  /** Makes `peer` reachable; connecting it again is harmless. That nobody is there (any more) is
   * for `poll` to say; LOCKSTEP_E_PEER if the address is damaged or the peer was lost before. */
  lockstep_status_t (*connect)(void *self, uint32_t peer, const void *address, size_t length);
  /** Queues one frame; the bytes are copied before it returns. LOCKSTEP_AGAIN when the queue to
   * this peer is full (poll, then post again); LOCKSTEP_E_PEER when the peer is lost or unknown. */
  lockstep_status_t (*post)(void *self, uint32_t peer, const void *frame, size_t length);
  /** Moves things along and hands over what arrived. Returns how many events it handed over. */
  size_t (*poll)(void *self, const lockstep_inbox_t *inbox);
  /** A descriptor that becomes readable when `poll` has work, once armed; -1: only to be polled. */
  int (*wake_fd)(void *self);
  /** Before sleeping on wake_fd. LOCKSTEP_OK: sleep; LOCKSTEP_AGAIN: something is there, poll. */
  lockstep_status_t (*arm)(void *self);
} lockstep_transport_t;

/** A whole group combines a vector by bitwise OR: the fallback where no frames can be sent. */
typedef struct lockstep_group_operation {
  uint32_t size; /**< sizeof this struct in the plugin; later fields count as absent */
  lockstep_status_t (*open)(const lockstep_environment_t *environment, void **self_p, char *why,
                            size_t why_size);
  void (*close)(void *self);
  /** Names the members, by job rank in ascending order; every member calls it with the same list.
   * Local and immediate. `*team_p` belongs to the caller until `release`. */
  lockstep_status_t (*prepare)(void *self, uint64_t group, const uint32_t *ranks, size_t count,
                               void **team_p);
  /** Contributes `length` bytes (the same on every member, at most LOCKSTEP_VECTOR_MAX + 64).
   * One operation per team at a time. */
  lockstep_status_t (*start)(void *self, void *team, const void *vector, size_t length);
  /** LOCKSTEP_AGAIN until every member has started; then writes the OR of all vectors. */
  lockstep_status_t (*test)(void *self, void *team, void *combined, size_t length);
  void (*release)(void *self, void *team);
} lockstep_group_operation_t;

/** What a plugin exports. */
typedef struct lockstep_plugin_table {
  uint32_t abi;  /**< LOCKSTEP_PLUGIN_ABI the plugin was built with */
  uint32_t size; /**< sizeof this struct in the plugin; later fields count as absent */
  const char *name;
  const char *version;     /**< of the library beneath, as found at run time, e.g. "UCX 1.13.1" */
  const char *description; /**< one line for `lockstep info` */
  const lockstep_transport_t *transport;             /**< or NULL */
  const lockstep_group_operation_t *group_operation; /**< or NULL */
  const struct lockstep_gpu *gpu;                    /**< lockstep/gpu.h; or NULL */
} lockstep_plugin_t;

/** The one symbol a plugin exports; the table lives as long as the plugin is loaded. */
typedef const lockstep_plugin_t *(*lockstep_plugin_function_t)(void);
#define LOCKSTEP_PLUGIN_SYMBOL "lockstep_plugin"

#ifdef __cplusplus
}
#endif
#endif
