"""Carry out a plan: batch by batch, journalled before it is sent, fenced on the host.

Nothing here decides what to do after a failure; see `ops.vm` and `ops.recover`. What can happen to
a batch: it was not sent (Unreachable), it was answered with a failure (StepFailed), it was refused
by the host's fence (Conflict, NotPermitted), or no answer came (Uncertain): then every one of its
steps may have been done, or may still be done until the host's own deadline.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from tashictl.errors import TashiError
from tashictl.model.operation import Begun, Pivoted, StepEnded
from tashictl.model.script import Reply, Script
from tashictl.model.settings import TashictlSettings
from tashictl.model.steps import Batch, Fence, Plan, PutSeed, Step, StepClass, batches
from tashictl.ops import answers, monitor, naming, seeding
from tashictl.ops.context import Context, iso, may_begin_s
from tashictl.ops.ports import Journal, World
from tashictl.planning import paths, scripts, summary
from tashictl.planning.frames import Answer, parse

_USUAL_LOCK_WAIT_S = 10
_SLACK_S = 15.0
_RETRIES = 3  # of a script that the fence refused for a reason that we could correct
_OVERTAKEN = 64  # times that other operations of ours may reach the host before this one


def lock_wait_s(ours: TashictlSettings, attempt: int) -> int:
    """How long a script waits for a lock on the host: from the second attempt on for one to end."""
    return _USUAL_LOCK_WAIT_S if attempt <= 1 else int(ours.step_timeout_s) + 10


class Ids(Struct, frozen=True, kw_only=True):
    """What the scripts of one operation carry; `generation` is the VM's."""

    operation: int
    epoch: int
    generation: int


class Execution:
    """One operation under way in this process: its journal, its attempt, what steps reported."""

    def __init__(self, world: World, context: Context, journal: Journal, ids: Ids) -> None:
        self.world = world
        self.context = context
        self.journal = journal
        self.ids = ids
        self.attempt = max(1, journal.view.attempt)
        self.data: dict[str, str] = {}
        # By host, the last operation that it saw; shared by all operations of this command.
        self.seen = context.seen
        self.unsent: set[int] = set()  # steps journalled as begun that surely never left
        self._lock_wait_s = _USUAL_LOCK_WAIT_S
        self._offset_s: dict[str, float] = {}

    def raise_attempt(self) -> None:
        """Fence off all that was sent before: the next script waits for it and then outranks it."""
        self.attempt += 1
        self._lock_wait_s = lock_wait_s(self.context.settings.tashictl, self.attempt)

    def forward(self, plan: Plan) -> None:
        """Do all steps of `plan`, also those that were done; raises at the first failure."""
        self._go(batches(plan, self.world.faults.split_at), undo=False)

    def part(self, plan: Plan, only: range) -> None:
        """Do some steps of `plan`, which keep their places in it."""
        self._go(batches(plan, self.world.faults.split_at, only), undo=False)

    def backward(self, plan: Plan) -> None:
        """Do all steps of an undo plan."""
        self._go(batches(plan, self.world.faults.split_at), undo=True)

    def _go(self, grouped: tuple[Batch, ...], undo: bool) -> None:
        for batch in grouped:
            self._begin(batch, undo)
            for step in batch.steps:
                self._fault(step, "before")
            if batch.steps[0].scripted:
                self._scripted(batch, undo)
            else:
                self._direct(batch, undo)

    def begins(self, plan: Plan, index: int) -> None:
        """Write down that a step begins which the operation carries out itself."""
        step = plan[index]
        self._begin(Batch(host=step.host, indexes=(index,), steps=(step,)), undo=False)

    def _begin(self, batch: Batch, undo: bool) -> None:
        begun = Begun(
            at=self._now(), attempt=self.attempt, host=batch.host, steps=batch.indexes, undo=undo
        )
        last = self.journal.view.entries[-1:]
        if last and isinstance(last[0], Begun) and _same(last[0], begun):
            return  # the journal was created with it
        if any(step.changes for step in batch.steps):
            self.journal.commit(begun)
        else:
            self.journal.note(begun)

    # -- batches of scripted steps

    def _scripted(self, batch: Batch, undo: bool) -> None:
        corrected = 0
        for _ in range(_OVERTAKEN):
            script = self._script(batch)
            watch = _Watch(self, batch, script)
            self.unsent.difference_update(batch.indexes)
            reply = self.world.remote.run(
                self.context.config(batch.host), script, self._deadline(script), watch.output
            )
            answer = parse(reply.out, script.nonce)
            if answer.complete and not answer.refused:
                self._saw(batch.host, self.ids.operation)
            if not answer.refused or not answer.complete:
                break
            corrected += answer.refused[0] != "counter"
            if corrected == _RETRIES:
                break
            self._correct(batch, answer)  # raises where another try is of no use
        for place in _answered(batch, answer):
            self._fault(batch.steps[place], "after")
        self._note(batch, answer, watch, undo)
        self._judge(batch, reply, answer)

    def _script(self, batch: Batch) -> Script:
        ours = self.context.settings.tashictl
        wait_s = self._lock_wait_s
        fence = Fence(
            cluster=ours.cluster_id,
            epoch=self.ids.epoch,
            operation=self.ids.operation,
            attempt=self.attempt,
            seen=self._seen_by(batch.host),
            generation=self.ids.generation,
            uuid=batch.steps[0].uuid,
            lib_dir=ours.lib_dir,
            not_after_s=self._not_after(batch.host, wait_s),
            lock_wait_s=wait_s,
            controller=self.world.who.controller(),
        )
        timeout_s = int(ours.step_timeout_s) + wait_s
        return scripts.changing(batch, fence, self.world.dice.nonce(), timeout_s)

    def _seen_by(self, host: str) -> int:
        """The last operation that the host is known to have seen."""
        if host not in self.seen:
            record = self.world.store.read().hosts.get(host)
            self.seen[host] = record.seen_operation if record is not None else 0
        return self.seen[host]

    def _saw(self, host: str, operation: int) -> None:
        self.seen[host] = max(self.seen.get(host, 0), operation)

    def _not_after(self, host: str, wait_s: int) -> int:
        offset_s = self._offset_s.get(host)
        if offset_s is None:
            record = self.world.store.read().hosts.get(host)
            offset_s = record.facts.clock_offset_s if record and record.facts else 0.0
            self._offset_s[host] = offset_s
        allowance_s = may_begin_s(self.context.settings.tashictl, wait_s)
        return int(self.world.clock.now().timestamp() + offset_s + allowance_s)

    def _deadline(self, script: Script) -> float:
        allowance_s = self.context.settings.tashictl.connect_timeout_s + script.timeout_s + _SLACK_S
        return self.world.clock.monotonic_s() + allowance_s

    def _correct(self, batch: Batch, answer: Answer) -> None:
        """Put right what the host refused for, or raise why it cannot be."""
        host, (why, *rest) = batch.host, answer.refused
        value = rest[0] if rest else ""
        ids = self.ids
        if why == "late":
            self._offset_s[host] = int(value) - self.world.clock.now().timestamp()
            return
        if why == "counter" and self._knows(value, rest[1] if len(rest) > 1 else ""):
            self._saw(host, int(value))
            return
        if why == "newer" and rest[:2] == [str(ids.epoch), str(ids.operation)]:
            self.attempt = int(rest[2]) + 1  # our own operation, in a journal that was lost
            return
        self.unsent.update(batch.indexes)
        if why in ("epoch", "counter", "generation"):
            with self.world.store.transaction() as tx:
                tx.mark_stale(f"{host} knows more ({why} {value})")
        raise answers.refusal(host, why, value)

    def _knows(self, operation: str, uuid: str) -> bool:
        """Whether an operation that reached a host is one of this database's: a quicker one.

        It is when its VM is known, or its journal is there. What concerns no VM gives no id out.
        """
        state = self.world.store.read()
        if not (operation.isascii() and operation.isdigit()):
            return False
        if int(operation) > state.meta.last_operation_id:
            return False
        if uuid == paths.HOST or any(vm.uuid == uuid for vm in state.vms.values()):
            return True
        journal = self.world.journals.read(int(operation))
        vm = journal.header.vm if journal is not None else None
        return vm is not None and vm.uuid == uuid

    def _note(self, batch: Batch, answer: Answer, watch: _Watch, undo: bool) -> None:
        entries: list[StepEnded | Pivoted] = []
        for place, (index, step) in enumerate(zip(batch.indexes, batch.steps, strict=True)):
            said = answer.steps.get(index)
            if said is None or said.rc is None:
                continue
            self.data.update(said.data)
            entries += self._passed(
                step,
                StepEnded(
                    at=self._now(),
                    attempt=self.attempt,
                    step=index,
                    rc=said.rc,
                    seconds=watch.seconds(place),
                    message=said.message[-2000:],
                    data=said.data,
                    undo=undo,
                ),
            )
            if said.rc == 0:
                self.tell(step, said.data, said.message)
        if entries:
            self.journal.note(*entries)

    def _judge(self, batch: Batch, reply: Reply, answer: Answer) -> None:
        host = batch.host
        if reply.fault is not None and not reply.sent:
            self.unsent.update(batch.indexes)
            raise answers.unreachable(host, reply)
        for index, step in zip(batch.indexes, batch.steps, strict=True):
            said = answer.steps.get(index)
            if said is not None and said.rc not in (None, 0):
                raise answers.step_failed(step, host, said.message or f"exit code {said.rc}")
        if answer.refused:
            self.unsent.update(batch.indexes)
            raise answers.refusal(host, answer.refused[0], " ".join(answer.refused[1:]))
        if not answer.complete or len(_answered(batch, answer)) < len(batch.steps):
            raise answers.no_answer(host, reply)

    # -- steps that the controller does itself

    def _direct(self, batch: Batch, undo: bool) -> None:
        step, index = batch.steps[0], batch.indexes[0]
        started_s = self.world.clock.monotonic_s()
        self.unsent.discard(index)
        if isinstance(step, PutSeed):
            seeding.send(self.world, self.context, step, lambda: self.step_began(step))
            data: dict[str, str] = {}
        elif isinstance(step, naming.NamesStep):
            data = self._at_a_server(step, index)
        else:
            data = monitor.carry_out(
                self.world, self.context, step, lambda moment: self._fault(step, moment)
            )
        self.data.update(data)
        self._fault(step, "after")
        ended = StepEnded(
            at=self._now(),
            attempt=self.attempt,
            step=index,
            rc=0,
            seconds=round(self.world.clock.monotonic_s() - started_s, 3),
            data=data,
            undo=undo,
        )
        self.journal.note(*self._passed(step, ended))
        self.tell(step, data, "")

    def _at_a_server(self, step: naming.NamesStep, index: int) -> dict[str, str]:
        try:
            return naming.carry_out(
                self.world, self.context, step, lambda moment: self._fault(step, moment)
            )
        except TashiError as error:
            if naming.is_unsent(error):
                self.unsent.add(index)
            raise

    def _passed(self, step: Step, ended: StepEnded) -> list[StepEnded | Pivoted]:
        """What is written down of a step that was answered: past the pivot we only go on."""
        pivoted = step.step_class is StepClass.PIVOT and ended.rc == 0 and not ended.undo
        return [ended, Pivoted(at=self._now())] if pivoted else [ended]

    def tell(self, step: Step, data: Mapping[str, str], message: str) -> None:
        """Tell people of a step that was done."""
        told = summary.told(step, data, message)
        if told is not None:
            self.world.report.step(*told)

    # -- small things

    def step_began(self, step: Step) -> None:
        """The host said that it began a step."""
        self._fault(step, "sent")

    def _fault(self, step: Step, moment: str) -> None:
        config = self.context.config(step.host)
        self.world.faults.reached(step.name, moment, lambda: self.world.remote.drop(config))

    def _now(self) -> str:
        return iso(self.world.clock.now())


class _Watch:
    """Sees a script's output arrive: when each step began and ended, and the fault points."""

    def __init__(self, execution: Execution, batch: Batch, script: Script) -> None:
        self._execution = execution
        self._batch = batch
        self._marks = {kind: f"@{script.nonce} {kind} ".encode() for kind in "BE"}
        self._seen = b""
        self._times_s: dict[str, list[float]] = {"B": [], "E": []}

    def output(self, chunk: bytes) -> None:
        self._seen += chunk
        now_s = self._execution.world.clock.monotonic_s()
        for kind, mark in self._marks.items():
            times_s = self._times_s[kind]
            while len(times_s) < self._seen.count(mark):
                times_s.append(now_s)
                if kind == "B" and len(times_s) <= len(self._batch.steps):
                    self._execution.step_began(self._batch.steps[len(times_s) - 1])

    def seconds(self, place: int) -> float:
        """How long the step at this place of the batch took, as seen from here."""
        begun, ended = self._times_s["B"], self._times_s["E"]
        told = place < min(len(begun), len(ended))
        return round(ended[place] - begun[place], 3) if told else 0.0


def _same(a: Begun, b: Begun) -> bool:
    return (a.attempt, a.host, a.steps, a.undo) == (b.attempt, b.host, b.steps, b.undo)


def _answered(batch: Batch, answer: Answer) -> list[int]:
    """The places in the batch whose step was answered with success."""
    found = []
    for place, index in enumerate(batch.indexes):
        said = answer.steps.get(index)
        if said is not None and said.rc == 0:
            found.append(place)
    return found
