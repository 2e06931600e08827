/* The speakers of free_poll.pml, which agree between nodes: frames, coordinator, successors. */

/* Frames are a set of nodes for each ballot, to or from whom one is on its way or has been. Ballots
 * are count * NODES + node, so that no two nodes have the same. */
mtype = { listens, holds, agrees, fires, gone };
mtype speaker_does[NODES] = listens;
byte speaks[NODES];        /* which rank */
byte ballot[NODES];        /* of the frame that is being worked on */
byte mine[NODES];          /* the ballot that this node coordinates; 0: none */
byte refused[NODES];       /* somebody has promised this ballot, higher than mine, to another */
byte live = BIT(NODES) - 1; /* nodes with somebody alive */

#define BALLOTS (NODES * (1 + SETS + 3 * CRASHES))
byte of_agreement[BALLOTS];
byte hold_to[BALLOTS];
byte held_by[BALLOTS];
byte held_largest[BALLOTS];
byte held_agreed[BALLOTS]; /* an answer says that this poll is agreed already */
byte commit_to[BALLOTS];
byte commit_poll[BALLOTS];
byte raised_by[SETS + 2];  /* by agreement */
byte receipt_by[SETS + 2];

#define COORDINATES(d) ((live & (BIT(d) - 1)) == 0)
#define OTHERS (live & ~BIT(d))
#define NEXT (agreement[d] + 1)
#define LISTENS (speaker_does[d] == listens && !broken)
#define HAVE_ENTERED (agreement[d] == 0 || (alive & MEMBERS(d) & ~entered[agreement[d] - 1]) == 0)

#ifdef NO_PROMISE
#define KEEPS_PROMISE(b) true
#else
#define KEEPS_PROMISE(b) ((b) >= promise[d])
#endif
#define HOLD_ARRIVES(b) \
  ((hold_to[b] & BIT(d)) && !(held_by[b] & BIT(d)) && \
   (of_agreement[b] == agreement[d] || (of_agreement[b] == NEXT && (b) >= promise[d])))
#define COMMIT_ARRIVES(b) \
  ((commit_to[b] & BIT(d)) && \
   ((of_agreement[b] == NEXT && KEEPS_PROMISE(b)) || \
    (of_agreement[b] < NEXT && !(receipt_by[of_agreement[b]] & BIT(d)) && \
     (live & BIT((b) % NODES)))))
#ifdef NO_REFUSAL
#define IS_REFUSED(b) false
#else
#define IS_REFUSED(b) \
  (((hold_to[b] | commit_to[b]) & BIT(d)) && of_agreement[b] == NEXT && (b) < promise[d] && \
   mine[(b) % NODES] == (b) && refused[(b) % NODES] < promise[d])
#endif
#define RECEIVE(b) \
  :: d_step { LISTENS && IS_REFUSED(b) -> refused[(b) % NODES] = promise[d] } \
  :: d_step { LISTENS && HOLD_ARRIVES(b) -> ON_HOLD(b) } \
  :: d_step { LISTENS && COMMIT_ARRIVES(b) -> ON_COMMIT(b) }

inline ON_HOLD(b) {
  if
  :: of_agreement[b] == agreement[d] ->
    held_agreed[b] = agreed_poll[d];
    held_by[b] = held_by[b] | BIT(d)
  :: else -> PROMISE(b); ballot[d] = b; speaker_does[d] = holds
  fi
}
inline ON_COMMIT(b) {
  if
  :: of_agreement[b] < NEXT -> receipt_by[of_agreement[b]] = receipt_by[of_agreement[b]] | BIT(d)
  :: else -> ballot[d] = b; speaker_does[d] = agrees
  fi
}
inline PROMISE(b) {
  promise[d] = b;
#ifndef NO_PROMISE
  o = 0; /* forget what is refused from now on: it only makes more states */
  do
  :: o < b ->
    if
    :: mine[o % NODES] != o ->
      hold_to[o] = hold_to[o] & ~BIT(d);
      commit_to[o] = commit_to[o] & ~BIT(d)
    :: else
    fi;
    o++
  :: else -> o = 0; break
  od
#endif
}
inline NEW_BALLOT(k) {
  mine[d] = d + NODES;
  do
  :: mine[d] <= promise[d] || mine[d] <= refused[d] -> mine[d] = mine[d] + NODES
  :: else -> break
  od;
  refused[d] = 0;
  PROMISE(mine[d]);
  of_agreement[mine[d]] = k
}
/* All know of this agreement: no frame of it has an effect any more. */
inline FORGET(k) {
  o = 0;
  do
  :: o < BALLOTS ->
    if
    :: of_agreement[o] <= k ->
      of_agreement[o] = 0; hold_to[o] = 0; held_by[o] = 0; held_largest[o] = 0;
      held_agreed[o] = 0; commit_to[o] = 0; commit_poll[o] = 0
    :: else
    fi;
    o++
  :: else -> o = 0; break
  od;
  raised_by[k] = 0
}

#if defined(SILENT_WHILE_HELD)
#define NEEDS_AGREEMENT (kind[d] == quiet && wanted[d])
#elif defined(RAISES_AT_FIRE)
#define NEEDS_AGREEMENT (wanted[d] || (kind[d] == hold && number[d] == NEXT))
#else
#define NEEDS_AGREEMENT ((kind[d] == quiet && wanted[d]) || (kind[d] == hold && number[d] == NEXT))
#endif
#ifdef HOME_FIRST
#define HOME_IS_DUE true
#else
#define HOME_IS_DUE (OTHERS == 0 || (receipt_by[NEXT] & ~BIT(d)) != 0)
#endif
#ifdef NO_SECOND_COMMIT
#define ALL_HAVE_LAST true
#else
#define ALL_HAVE_LAST (agreement[d] == 0 || (OTHERS & ~receipt_by[agreement[d]]) == 0)
#endif

#if BALLOTS > 16
#error "receive more ballots"
#endif
proctype speaker(byte d) {
  byte o;
end:
  do
  RECEIVE(2) RECEIVE(3) RECEIVE(4) RECEIVE(5)
#if BALLOTS > 6
  RECEIVE(6) RECEIVE(7)
#endif
#if BALLOTS > 8
  RECEIVE(8) RECEIVE(9)
#endif
#if BALLOTS > 10
  RECEIVE(10) RECEIVE(11)
#endif
#if BALLOTS > 12
  RECEIVE(12) RECEIVE(13) RECEIVE(14)
#endif
#if BALLOTS > 15
  RECEIVE(15)
#endif
#ifndef NO_FINISH
  :: d_step { /* the predecessor died in between */
      LISTENS && kind[d] == hold && number[d] == agreement[d] ->
      kind[d] = fire; number[d] = agreed_poll[d]
    }
#endif
  :: d_step { /* asks for an agreement, until there is one */
      LISTENS && NEEDS_AGREEMENT && !(raised_by[NEXT] & BIT(d)) ->
      raised_by[NEXT] = raised_by[NEXT] | BIT(d)
    }

  /* What a coordinator does besides. */
  :: d_step { /* begins: promises it here, then asks all */
      LISTENS && COORDINATES(d) && mine[d] == 0 && raised_by[NEXT] != 0 && ALL_HAVE_LAST ->
      NEW_BALLOT(NEXT);
      hold_to[mine[d]] = live
    }
  :: d_step { /* a successor does not know who has heard of the last agreement */
      LISTENS && COORDINATES(d) && mine[d] == 0 && !ALL_HAVE_LAST ->
      NEW_BALLOT(agreement[d]);
      commit_poll[mine[d]] = agreed_poll[d];
      commit_to[mine[d]] = OTHERS
    }
  :: d_step { /* somebody has promised more: again, with more */
      LISTENS && mine[d] != 0 && refused[d] > mine[d] ->
      if
      :: of_agreement[mine[d]] == NEXT -> NEW_BALLOT(NEXT); hold_to[mine[d]] = live
      :: else ->
        NEW_BALLOT(agreement[d]);
        commit_poll[mine[d]] = agreed_poll[d];
        commit_to[mine[d]] = OTHERS
      fi
    }
  :: d_step { /* all are held */
      LISTENS && mine[d] != 0 && commit_poll[mine[d]] == 0 && (live & ~held_by[mine[d]]) == 0 ->
      commit_poll[mine[d]] =
        (held_agreed[mine[d]] != 0 -> held_agreed[mine[d]] : AFTER(held_largest[mine[d]]));
      commit_to[mine[d]] = OTHERS
    }
  :: d_step { /* its own node comes second */
      LISTENS && mine[d] != 0 && commit_poll[mine[d]] != 0 && of_agreement[mine[d]] == NEXT &&
      HOME_IS_DUE -> ballot[d] = mine[d]; speaker_does[d] = agrees
    }
  :: d_step { /* all have it */
      LISTENS && mine[d] != 0 && of_agreement[mine[d]] == agreement[d] &&
      (OTHERS & ~receipt_by[agreement[d]]) == 0 -> mine[d] = 0; FORGET(agreement[d])
    }
  :: d_step { /* sends again what was lost */
      LISTENS && mine[d] != 0 && commit_poll[mine[d]] == 0 &&
      (live & ~(hold_to[mine[d]] | held_by[mine[d]])) != 0 ->
      hold_to[mine[d]] = hold_to[mine[d]] | live
    }
  :: d_step {
      LISTENS && mine[d] != 0 && commit_poll[mine[d]] != 0 &&
      (OTHERS & ~(commit_to[mine[d]] | receipt_by[of_agreement[mine[d]]])) != 0 ->
      commit_to[mine[d]] = commit_to[mine[d]] | OTHERS
    }

  /* On a hold: the page, the fence, the polls, the answer. */
  :: d_step {
      speaker_does[d] == holds ->
      if
      :: kind[d] != hold ->
        assert(kind[d] == quiet || HAVE_ENTERED);
        kind[d] = hold; number[d] = NEXT; wanted[d] = 0
      :: else
      fi;
      member[d] = FIRST(d);
      speaker_does[d] = FIRST_STEP_OF_HOLDER
    }
  :: d_step {
      speaker_does[d] == fences -> FENCE(d);
      if
      :: member[d] == END(d) -> speaker_does[d] = reads; member[d] = FIRST(d)
      :: else
      fi
    }
  :: atomic {
      speaker_does[d] == reads -> READ_POLLS(d);
      if
      :: member[d] == END(d) ->
        held_by[ballot[d]] = held_by[ballot[d]] | BIT(d);
        held_largest[ballot[d]] =
          (largest[d] > held_largest[ballot[d]] -> largest[d] : held_largest[ballot[d]]);
        largest[d] = 0; member[d] = 0; ballot[d] = 0;
        speaker_does[d] = listens
      :: else
      fi
    }

  /* On a commit: the agreement, then the page, then the receipt. */
  :: d_step {
      speaker_does[d] == agrees ->
#ifdef FIRE_BEFORE_AGREEMENT
      kind[d] = fire; number[d] = commit_poll[ballot[d]];
#else
      agreement[d]++; agreed_poll[d] = commit_poll[ballot[d]];
#endif
      speaker_does[d] = fires
    }
  :: d_step {
      speaker_does[d] == fires ->
#ifdef FIRE_BEFORE_AGREEMENT
      agreement[d]++; agreed_poll[d] = commit_poll[ballot[d]];
#else
      assert(kind[d] == hold);
      kind[d] = fire; number[d] = agreed_poll[d];
#endif
#ifdef FIRE_TAKES_WANTED
      wanted[d] = 0;
#endif
      receipt_by[agreement[d]] = receipt_by[agreement[d]] | BIT(d);
      ballot[d] = 0;
      speaker_does[d] = listens
    }
  od
}

/* The successor of node d's speaker: it has what is in the page, and nothing else. What the dead
 * one has sent or not read may be lost, for each other node. */
inline LOSE_HELD(bits) {
  b = 0;
  do
  :: b < BALLOTS -> held_by[b] = held_by[b] & ~(bits); b++
  :: else -> b = 0; break
  od
}
inline LOSE_SENT(from, step, to) {
  b = from;
  do
  :: b < BALLOTS ->
    hold_to[b] = hold_to[b] & ~BIT(to);
    commit_to[b] = commit_to[b] & ~BIT(to);
    b = b + step
  :: else -> b = 0; break
  od
}
inline LOSE_NOTES(bits) {
  b = 0;
  do
  :: b < SETS + 2 ->
    raised_by[b] = raised_by[b] & ~(bits);
    receipt_by[b] = receipt_by[b] & ~(bits);
    b++
  :: else -> b = 0; break
  od
}
inline SUCCEED(d) {
  ballot[d] = 0; mine[d] = 0; refused[d] = 0; member[d] = 0; largest[d] = 0;
  speaker_does[d] = listens;
  do
  :: speaks[d] < END(d) && !(alive & BIT(speaks[d])) -> speaks[d]++
  :: else -> break
  od;
  if
  :: speaks[d] == END(d) -> live = live & ~BIT(d); speaker_does[d] = gone
  :: else
  fi;
  if
  :: !COORDINATES(d) -> LOSE_NOTES(BIT(d)); LOSE_HELD(BIT(d))
  :: COORDINATES(d) -> LOSE_NOTES(BIT(NODES) - 1)
  :: live & BIT(d)
  fi;
  if
  :: LOSE_SENT(0, 1, d)
  :: live & BIT(d)
  fi;
  o = 0;
  do
  :: o < NODES ->
    if
    :: LOSE_SENT(d, NODES, o)
    :: o != d
    fi;
    o++
  :: else -> o = 0; break
  od
}
