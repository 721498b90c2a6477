/* Fencing, as planning/shell.py does it: one VM on one host; a create, a destroy and two recoveries
 * (one with PRUNE and REBUILD) by controllers that die or stop at any point; scripts that arrive
 * late, are ended by their deadline between any two steps, and whose answers get lost.
 *
 *   spin -a [-D...] docs/fencing.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan -m1000000 -w24
 *
 *   (nothing)        0 errors: at most one QEMU; what is recorded as gone stays gone; what is
 *                    recorded as running runs
 *   NOFENCE          the host remembers in the VM's folder, and forgets with it: violated
 *   NOATTEMPT        recovery does not raise the attempt: violated
 *   NOOPERATION      a destroy goes on under the operation that it supersedes, attempt 1: violated
 *   NOLOCK           scripts do not hold the VM's lock on the host: violated
 *   PRUNE            fences are forgotten at any time: violated
 *   PRUNE NOTAFTER   only fences older than every not-after, which scripts check: 0 errors
 *                    (`host remove` forgets all fences of a host: it waits until no script that was
 *                    sent there without a full answer may begin any more, see planning/quiet.py)
 *   REBUILD          the database is rebuilt from the host under a new epoch, its counters begin
 *                    anew; every fence is marked under its lock before the host is looked at: 0 errors
 *                    (MarkFences in planning/scripts.py, ops/rebuild.py)
 *   REBUILD GLANCE   only the host's own epoch is raised: violated, by a script that had passed that
 *                    check and waited for the VM's lock
 */
#define SCRIPTS 9
#ifdef NOTAFTER
#define OLD (fence_by < expired)
#else
#define OLD true
#endif
#define RANK(e, o, a) ((e) * 64 + (o) * 8 + (a))

mtype = { NONE, WORKING, RUNNING, GONE };   /* the record */
mtype = { MAKE, REMOVE };                   /* where its operation goes */

/* the database and the journal */
mtype record = NONE;
mtype aim = MAKE;
byte epoch = 1;
byte last = 0;              /* operation counter */
byte op = 0;                /* the operation that holds the VM */
byte attempt = 0;
bool held = false;          /* flock of the VM on the controller's machine, free at death */

/* the host */
byte host_epoch = 0;        /* /var/lib/tashi/cluster */
byte fence = 0;             /* rank of the highest script that began */
bool fence_file = false;    /* it is there, if only empty */
byte fence_by = 0;
bool lock = false;          /* descriptor 9 */
bool folder = false;
bool tap = false;
byte qemu = 0;

/* what travels */
byte sent = 0;
byte expired = 0;           /* not-after has passed for all scripts below this number */
bool reply[SCRIPTS];

inline effect() { assert(record != GONE) }

inline pass(e, rank, id) {
#ifdef NOTAFTER
  if :: id < expired -> goto out :: else fi;
#endif
  fence_file = true;
  atomic { if :: host_epoch > e -> goto out :: else -> host_epoch = e fi };
#ifndef NOLOCK
  atomic { !lock -> lock = true };
#endif
#ifdef NOTAFTER
  if :: id < expired -> goto free :: else fi;
#endif
  if :: rank < fence -> goto free :: else fi;
  fence = rank; fence_by = id; fence_file = true
}

inline or_ended() { if :: goto free :: skip fi }   /* deadline, reboot of the shell's session */

proctype Start(byte e; byte rank; byte id) {
  pass(e, rank, id);
  atomic { effect(); folder = true };
  or_ended();
  atomic { effect(); tap = true };
  or_ended();
  if
  :: qemu > 0 -> skip                       /* run.lock is held: it runs already */
  :: qemu == 0 -> atomic { effect(); qemu++; assert(qemu == 1) }
  fi;
  or_ended();
  reply[id] = true;
free:
  lock = false;
out: skip
}

proctype Stop(byte e; byte rank; byte id) {
  pass(e, rank, id);
  qemu = 0;
  or_ended();
  tap = false;
  or_ended();
  folder = false;
#ifdef NOFENCE
  fence = 0;
#endif
  or_ended();
  reply[id] = true;
free:
  lock = false;
out: skip
}

inline take() { atomic { !held -> held = true } }
inline or_dead() { if :: goto leave :: skip fi }   /* kill -9, or an error that leaves all as it is */
inline number() { atomic { id = sent; sent++ } }

inline send_start() {
  atomic { number(); run Start(my_epoch, RANK(my_epoch, my_op, my_try), id) }
}
inline send_stop() {
  atomic { number(); run Stop(my_epoch, RANK(my_epoch, my_op, my_try), id) }
}
inline await_running() {                    /* the answer, or the wait is given up */
  if
  :: reply[id] -> atomic {
       if :: record == WORKING && op == my_op && epoch == my_epoch ->
             record = RUNNING; assert(qemu == 1)
          :: else fi }; goto leave
  :: skip
  fi
}
inline await_gone() {
  if
  :: reply[id] -> atomic {
       if :: record == WORKING && op == my_op && epoch == my_epoch ->
             record = GONE; assert(qemu == 0 && !tap && !folder)
          :: else fi }
  :: skip
  fi
}
inline raise_attempt() {
#ifndef NOATTEMPT
  atomic { if :: op == my_op && epoch == my_epoch -> attempt++; my_try = attempt
              :: else -> goto leave fi }
#else
  skip
#endif
}

proctype Creator() {
  byte id; byte my_epoch; byte my_op; byte my_try;
  take();
  atomic {
    if :: record != NONE -> goto leave :: else fi;
    last++; op = last; attempt = 1; aim = MAKE; record = WORKING;
    my_epoch = epoch; my_op = op; my_try = 1
  };
  or_dead();
  send_start();
  or_dead();
  await_running();
  raise_attempt();                          /* no answer: go back */
  or_dead();
  send_stop();
  or_dead();
  await_gone();
leave:
  held = false
}

proctype Destroyer() {
  byte id; byte my_epoch; byte my_op; byte my_try;
  take();
  atomic {
    if :: record == WORKING || record == RUNNING :: else -> goto leave fi;
#ifdef NOOPERATION
    if :: op == 0 -> last++; op = last :: else fi;
#else
    last++; op = last;                      /* what is under way is superseded */
#endif
    attempt = 1; aim = REMOVE; record = WORKING;
    my_epoch = epoch; my_op = op; my_try = 1
  };
  or_dead();
  send_stop();
  or_dead();
  await_gone();
leave:
  held = false
}

proctype Recoverer() {
  byte id; byte my_epoch; byte my_op; byte my_try;
  take();
  atomic {
    if :: record == WORKING :: else -> goto leave fi;
    my_epoch = epoch; my_op = op; my_try = attempt
  };
  raise_attempt();
  or_dead();
  if
  :: aim == MAKE -> send_start(); or_dead(); await_running(); goto leave
  :: true -> send_stop(); or_dead(); await_gone()
  fi;
leave:
  held = false
}

#ifdef PRUNE
proctype Pruner() {
  do
  :: expired < sent -> expired = sent       /* time passes */
  :: atomic { (!lock && !folder && fence > 0 && OLD) -> fence = 0; fence_file = false }
  :: break
  od
}
#endif

#ifdef REBUILD
proctype Rebuilder() {
  byte new;
  new = epoch + 1;
  atomic { host_epoch = new };
#ifndef GLANCE
  if
  :: fence_file -> atomic { !lock -> lock = true }; fence = RANK(new, 0, 0); lock = false
  :: !fence_file -> skip                    /* no script has passed the host's epoch yet */
  fi;
#endif
  atomic {                                  /* the copy in force until now is thrown away */
    epoch = new; last = 0; op = 0; attempt = 0; aim = REMOVE;
    if :: folder || tap || qemu > 0 -> record = RUNNING
       :: else -> record = GONE fi;
    if :: record == RUNNING && qemu == 0 -> record = WORKING :: else fi
  }
}
#endif

init {
  atomic {
    run Creator(); run Destroyer(); run Recoverer();
#if !defined(REBUILD) && !defined(PRUNE)    /* else there are too many states */
    run Recoverer();
#endif
#ifdef PRUNE
    run Pruner();
#endif
#ifdef REBUILD
    run Rebuilder();
#endif
  }
}
