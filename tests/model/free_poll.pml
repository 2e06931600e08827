/* Do all ranks meet in the same poll, whatever interleaves and whoever dies?
 *
 * A poll of a trigger costs a store and a load while nothing is set. Once something is, the ranks
 * are held, the nodes agree on a poll, and all ranks meet in it. Here is the whole protocol with
 * one step per access to shared memory, as guarded commands; spin looks at every interleaving.
 *
 * Checked, by assertions:
 *  - one poll: the live ranks have their i-th meeting in the same poll, and none returns false
 *    from it (ENTER_MEETING, RETURN_FALSE);
 *  - a page is held for the next meeting only after its ranks have gone into the last
 *    (HAVE_ENTERED);
 *  - when nothing can move any more nobody waits and nothing is set and untold (init). Frames
 *    that change nothing are not received again, so no run is endless (looked for in one shape),
 *    and each run ends well: nothing is left to liveness, and no fairness is assumed.
 *
 * Bounds, and what the model leaves out:
 *  - RANKS ranks, SETS sets, CRASHES crashes of ranks; a node is lost with its last rank;
 *  - a rank polls at most FREE times after a meeting before there is something to see in its
 *    page, so ranks are at most FREE + 1 polls apart; how long they take is not bounded;
 *  - the number of the poll waits in a store buffer of any length (READ_POLLS), which is what x86
 *    and Arm allow a store before a load. All other accesses are in order, a dead process's are
 *    done, and a fence on a remote processor does what it says: that is assumed, not shown;
 *  - frames arrive in any order and late. A frame that comes twice is answered alike. What a dead
 *    speaker has sent or not read may be lost; the sender of what is lost sends it again;
 *  - nobody is taken for dead who lives. A successor begins as early as it can, with what is in
 *    the page, and each of its steps may come later;
 *  - the exchange in a meeting ends when all live ranks are in it: broken, if somebody died
 *    outside. Survivors may really hear of that earlier; here they must agree nevertheless.
 *
 * Rules that are easily left out; CMakeLists.txt has a run that goes wrong without each of them:
 *  - who gets a frame with a ballot below its promise says so, and the coordinator begins again
 *    with a higher one. A late frame of a dead coordinator may carry more than its successor
 *    knows of;
 *  - a commit writes the agreement and its poll first and the page's word then, and a hold says
 *    for which agreement it is: a successor that finds the hold of what is agreed fires it;
 *  - a node asks for an agreement while it is held, not only before; and never beside fire.
 */
#ifndef RANKS
#define RANKS 4
#endif
#ifndef FIRST_OF_1
#define FIRST_OF_1 RANKS /* the first rank of node 1; RANKS: there is none */
#endif
#ifndef FIRST_OF_2
#define FIRST_OF_2 RANKS
#endif
#ifndef FREE
#define FREE 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef SETS
#define SETS 2
#endif
#if FIRST_OF_1 == RANKS
#define NODES 1
#elif FIRST_OF_2 == RANKS
#define NODES 2
#else
#define NODES 3
#endif
#define NODE(r) (((r) >= FIRST_OF_1) + ((r) >= FIRST_OF_2))
#define FIRST(d) ((d) == 0 -> 0 : ((d) == 1 -> FIRST_OF_1 : FIRST_OF_2))
#define END(d) ((d) == 0 -> FIRST_OF_1 : ((d) == 1 -> FIRST_OF_2 : RANKS))
#define BIT(x) (1 << (x))
#define MEMBERS(d) (BIT(END(d)) - BIT(FIRST(d)))
#define ALL (BIT(RANKS) - 1)

/* Ranks. */
mtype = { computes, looks, fences, reads, meets, clears, leaves, dead };
mtype does[RANKS] = computes;
byte alive = ALL;          /* as a set */
byte own[RANKS];           /* the poll it has entered last */
byte met[RANKS];           /* meetings it has come out of */
byte met_at[RANKS];        /* the poll of the last one */
byte entered[SETS + 2];    /* who has gone into that meeting */
byte untold;               /* who has something set that no meeting has told */
bool broken;               /* a meeting ended without somebody who is dead */

/* Pages. `kind`, `number` and `wanted` are one word: they change together. */
mtype = { quiet, hold, fire };
mtype kind[NODES] = quiet;
byte number[NODES];      /* hold: one node, the holder; several, the agreement; fire: the poll */
bool wanted[NODES];
byte polls[RANKS];       /* what has left the store buffer for certain */
byte agreement[NODES];   /* the last one */
byte agreed_poll[NODES]; /* and its poll */
byte promise[NODES];

/* Of whoever holds a page. */
byte member[NODES];
byte largest[NODES];

#include "ranks.pml"
#if NODES > 1
#include "speakers.pml"
#endif

#if CRASHES > 0
#define DIES(x) :: alive & BIT(x) -> r = x
proctype crash() {
  byte left = CRASHES, r, o, b;
end:
  do
  :: atomic {
      left > 0 && !broken ->
      if
      DIES(0)
      DIES(1)
#if RANKS > 2
      DIES(2)
#endif
#if RANKS > 3
      DIES(3)
#endif
      fi;
      alive = alive & ~BIT(r);
      untold = untold & ~BIT(r);
      does[r] = dead; met[r] = 0; met_at[r] = 0; EMPTY_BUFFER(r);
#if NODES > 1
      if
      :: speaks[NODE(r)] == r -> SUCCEED(NODE(r))
      :: else
      fi;
#endif
      left--; r = 0
    }
  od
}
#endif

init {
  byte r;
  atomic {
    do
    :: r < RANKS -> run rank(r); r++
    :: else -> r = 0; break
    od;
#if NODES > 1
    do
    :: r < NODES -> speaks[r] = FIRST(r); run speaker(r); r++
    :: else -> r = 0; break
    od;
#endif
    run setter(0);
#if SETS > 1
    run setter(RANKS - 1);
#endif
#if CRASHES > 0
    run crash()
#endif
  };
end:
  atomic {
    timeout -> /* nothing can move any more */
    do
    :: r < RANKS -> assert(does[r] == computes || does[r] == leaves || does[r] == dead); r++
    :: else -> r = 0; break
    od;
#if NODES > 1
    do
    :: r < NODES ->
      assert((speaker_does[r] == listens && mine[r] == 0) || speaker_does[r] == gone || broken);
      r++
    :: else -> r = 0; break
    od;
#endif
    assert(untold == 0 || broken)
  }
}
