/* The ranks of free_poll.pml and those who set for them; on one node, its holders as well. */

/* ---- The store buffer. All up to `own` has been stored, in order: a reader sees anything from
 * `polls` on, and nothing older later. A fence reaches one processor after the other. */
#define FENCE(d) polls[member[d]] = own[member[d]]; member[d]++
#ifdef FENCE_AND_READ
/* The two as one step of each processor, at any time in between: a rank's number takes every value
 * that a read after the fence may find, so this leaves out nothing, and makes far fewer states. */
#define READ_POLLS(d) \
  largest[d] = (own[member[d]] > largest[d] -> own[member[d]] : largest[d]); \
  member[d]++
#define EMPTY_BUFFER(r)
#define FIRST_STEP_OF_HOLDER reads
#else
#define EMPTY_BUFFER(r) polls[r] = own[r]
inline READ_POLLS(d) {
  do
  :: polls[member[d]] < own[member[d]] -> polls[member[d]]++
  :: break
  od;
  largest[d] = (polls[member[d]] > largest[d] -> polls[member[d]] : largest[d]);
  member[d]++
}
#ifdef NO_MEMBARRIER
#define FIRST_STEP_OF_HOLDER reads
#else
#define FIRST_STEP_OF_HOLDER fences
#endif
#endif
#ifdef F_IS_MAX
#define AFTER(poll) (poll)
#else
#define AFTER(poll) ((poll) + 1)
#endif

#define PAGE NODE(r)

/* ---- What must hold of a meeting's poll; `o` is another rank that has this meeting before it. */
#define BEFORE_IT(o) ((alive & BIT(o)) && met[o] == met[r])
#define IS_IN(o) (entered[met[r]] & BIT(o))
#define HAS_LEFT(o) (does[o] == computes)
inline ENTER_MEETING() {
  untold = untold & ~BIT(r); /* it tells the others */
  o = 0;
  do
  :: o < RANKS ->
    assert(!BEFORE_IT(o) || (IS_IN(o) -> own[o] == own[r] : own[o] + HAS_LEFT(o) <= own[r]));
    o++
  :: else -> o = 0; break
  od;
  entered[met[r]] = entered[met[r]] | BIT(r);
  does[r] = meets
}
inline RETURN_FALSE() {
  o = 0;
  do
  :: o < RANKS -> assert(!(BEFORE_IT(o) && IS_IN(o) && own[o] <= own[r])); o++
  :: else -> o = 0; break
  od;
  does[r] = computes
}
inline HOLD_PAGE() {
  kind[PAGE] = hold; number[PAGE] = r; wanted[PAGE] = 0;
  EMPTY_BUFFER(r); /* as compare-and-swap does */
  member[PAGE] = 0; largest[PAGE] = 0;
  does[r] = FIRST_STEP_OF_HOLDER
}

/* ---- A rank polls. */
#if NODES == 1
#define SOMETHING_TO_SEE (kind[PAGE] != quiet || wanted[PAGE])
#else
#define SOMETHING_TO_SEE (kind[PAGE] != quiet)
#endif

proctype rank(byte r) {
  byte o;
end:
  do
  :: d_step {
      does[r] == computes && (own[r] - met_at[r] < FREE || SOMETHING_TO_SEE) ->
      own[r]++;
#ifdef FENCES_ITSELF
      EMPTY_BUFFER(r);
#endif
      does[r] = looks
    }
  :: d_step {
      does[r] == looks && kind[PAGE] == quiet && (!wanted[PAGE] || NODES > 1) -> RETURN_FALSE()
    }
  :: d_step {
      does[r] == looks && kind[PAGE] == fire ->
      assert(own[r] <= number[PAGE]);
      if
      :: own[r] < number[PAGE] -> RETURN_FALSE()
      :: else -> ENTER_MEETING()
      fi
    }
#if NODES == 1
  :: d_step { does[r] == looks && kind[PAGE] == quiet && wanted[PAGE] -> HOLD_PAGE() }
#ifndef NO_TAKEOVER
  :: d_step {
      does[r] == looks && kind[PAGE] == hold && !(alive & BIT(number[PAGE])) -> HOLD_PAGE()
    }
#endif
  :: d_step {
      does[r] == fences && member[PAGE] < RANKS -> FENCE(PAGE);
      if
      :: member[PAGE] == RANKS -> does[r] = reads; member[PAGE] = 0
      :: else
      fi
    }
  :: atomic { does[r] == reads && member[PAGE] < RANKS -> READ_POLLS(PAGE) }
  :: d_step {
      does[r] == reads && member[PAGE] == RANKS ->
      kind[PAGE] = fire; number[PAGE] = AFTER(largest[PAGE]);
#ifdef FIRE_TAKES_WANTED
      wanted[PAGE] = 0;
#endif
      member[PAGE] = 0; largest[PAGE] = 0;
      does[r] = looks
    }
#endif
  :: d_step {
      does[r] == meets && entered[met[r]] == ALL ->
      met_at[r] = own[r]; met[r]++;
      does[r] = clears
    }
  :: d_step {
      does[r] == meets && (alive & ~entered[met[r]]) == 0 && entered[met[r]] != ALL ->
      broken = 1;
      does[r] = leaves
    }
  :: d_step {
      does[r] == clears ->
      if
      :: kind[PAGE] == fire && number[PAGE] == met_at[r] ->
        kind[PAGE] = quiet; number[PAGE] = 0;
#ifdef CLEARS_WANTED
        wanted[PAGE] = 0
#endif
      :: else
      fi;
      EMPTY_BUFFER(r);
      does[r] = computes
    }
  od
}

/* Whoever sets on behalf of rank r, at any moment of it: itself, a signal handler, a visitor. */
#define WHAT untold = untold | BIT(r)
proctype setter(byte r) {
end:
#ifdef WANTED_BEFORE_WHAT
  d_step { alive & BIT(r) -> wanted[PAGE] = 1 };
end_between:
  d_step { alive & BIT(r) -> WHAT }
#elif defined(SETS_AT_ONCE)
  d_step { alive & BIT(r) -> WHAT; wanted[PAGE] = 1 }
#else
  d_step { alive & BIT(r) -> WHAT };
end_between:
  d_step { alive & BIT(r) -> wanted[PAGE] = 1 }
#endif
}
