/* srun: what would end a step although its ranks tolerate faults. */
#ifndef LOCKSTEP_SPANK_ADVICE_H
#define LOCKSTEP_SPANK_ADVICE_H

/* Says on stderr what would, as far as it can be seen, and what to type against it. */
void lockstep_say_what_ends_the_step(void);

#endif
