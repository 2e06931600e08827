/* The only list of lockstep's status codes: C API, C++ exceptions, plugins and logs all use it. */
#ifndef LOCKSTEP_ERROR_H
#define LOCKSTEP_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/** Result of every call. 0 is success, 1 is "not yet", negative is an error; errors are grouped by
 * the largest thing that stays damaged, so that a range check tells what can still be used. */
typedef enum lockstep_status {
  LOCKSTEP_OK = 0,
  LOCKSTEP_AGAIN = 1, /**< not done yet; nothing was lost, call again */

  /* -1 .. -19: the caller's mistake; nothing changed */
  LOCKSTEP_E_INVALID = -1, /**< an argument is out of range or NULL */
  LOCKSTEP_E_BUSY = -2,    /**< the group still has an open round here: wait for it first */
  LOCKSTEP_E_STATE = -3,   /**< wait without arrive, end without begin, use after leave */
  LOCKSTEP_E_LIMIT = -4,   /**< a named limit of the library is exceeded */

  /* -20 .. -39: a local resource; the session goes on */
  LOCKSTEP_E_RESOURCE = -20,    /**< memory, descriptors or shared memory are exhausted */
  LOCKSTEP_E_IO = -21,          /**< a file could not be written, synced or renamed */
  LOCKSTEP_E_UNSUPPORTED = -22, /**< not available in this build, on this machine or launcher */

  /* -40 .. -59: another process; the group goes on */
  LOCKSTEP_E_PEER = -40,         /**< a peer cannot be reached */
  LOCKSTEP_E_FIRST_FAILED = -41, /**< the rank that went first reported a failure */

  /* -60 .. -79: this group is broken for good, on every live member */
  LOCKSTEP_E_DEADLINE = -60, /**< ranks were missing at the deadline; all of them are named */
  LOCKSTEP_E_MISMATCH = -61, /**< members are in different calls; both sites are named */
  LOCKSTEP_E_LOST = -62,     /**< a member has died or does not answer */

  /* -80 .. -99: there is no session */
  LOCKSTEP_E_CONFIG = -80,    /**< a LOCKSTEP_* variable has a malformed value */
  LOCKSTEP_E_IDENTITY = -81,  /**< who this process is cannot be told, or contradicts itself */
  LOCKSTEP_E_BOOTSTRAP = -82, /**< PMIx or the node's page could not be set up */
  LOCKSTEP_E_TRANSPORT = -83  /**< no transport plugin can connect the nodes */
} lockstep_status_t;

#ifdef __cplusplus
}
#endif
#endif
