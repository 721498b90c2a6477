"""Steps that the controller does itself, in a dialogue with QEMU's monitor.

They carry no fence, and need none: QEMU talks to one client at a time, so what an earlier dialogue
sent is done, or its connection is gone, before a later one is greeted; and while the process that
may still send lives, it holds the VM's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tashictl.errors import OperationFailed, StepFailed, TashiError, Uncertain, Unreachable
from tashictl.model.steps import AwaitQmp, PressPowerButton, QmpCommand, Step
from tashictl.ops.context import Context
from tashictl.ops.ports import Monitor, World

_LISTEN_S = 5.0
_COMMAND_S = 10.0
# Of a stream: the host was reached, the socket was not; or what answered did not greet yet.
_NOT_YET = ("E-EXEC", "E-QMP-GREETING")
_GONE = ("E-EXEC", "E-QMP-END")  # nobody listens at the socket, or who did has ended
SILENT = "E-QMP-SILENT"
_REFUSED = "E-QMP-REFUSED"
NEVER = "never"  # nobody was at the socket

Fault = Callable[[str], None]  # told of a moment of the step: ``sent``


def carry_out(world: World, context: Context, step: Step, fault: Fault) -> dict[str, str]:
    """Do one step; what it reports.

    Raises StepFailed when it is known not to be done, Uncertain when it may be, Unreachable when
    nothing of it was sent.
    """
    match step:
        case AwaitQmp():
            return _await_qmp(world, context, step, fault)
        case QmpCommand():
            return _command(world, context, step, fault)
        case PressPowerButton():
            return _press(world, context, step, fault)
        case _:
            raise OperationFailed("E-STEP", f"{step.name} cannot be carried out here")


def is_silence(error: TashiError) -> bool:
    """Whether nobody listens at a VM's socket: its QEMU has ended, or cannot be reached so."""
    return error.code in (*_GONE, SILENT)


def may_be_qemu(error: BaseException) -> bool:
    """Whether an error may be of QEMU alone, so that it says nothing of its host."""
    return isinstance(error, Unreachable) and error.code in (*_GONE, "E-TIMEOUT")


def status_of(world: World, context: Context, host: str, socket: str, uuid: str) -> str | None:
    """The VM's run state, None where nobody answers at its socket; raises what else goes wrong."""
    deadline_s = world.clock.monotonic_s() + context.settings.tashictl.connect_timeout_s
    try:
        stream = world.remote.open_stream(context.config(host), socket, deadline_s)
        try:
            return world.qmp.hello(stream, uuid, deadline_s)
        finally:
            stream.close()
    except TashiError as error:
        if error.code in _GONE:
            return None
        raise


def _await_qmp(world: World, context: Context, step: AwaitQmp, fault: Fault) -> dict[str, str]:
    deadline_s = world.clock.monotonic_s() + context.settings.qemu.monitor_timeout_s
    patience_s = world.clock.monotonic_s() + _LISTEN_S
    while True:
        try:
            status = _hello(world, context, step, deadline_s, fault)
            break
        except (Unreachable, OperationFailed) as error:
            # QEMU's socket is there a moment before QEMU listens on it and speaks.
            if error.code in _NOT_YET and world.clock.monotonic_s() < patience_s:
                world.clock.sleep(0.1)
                continue
            if not isinstance(error, Unreachable):
                raise
            raise _uncertain(error, step) from error
    if status != "running" and not step.paused_too:
        raise StepFailed(
            "E-AWAITQMP", f"QEMU on {step.host} is {status}, not running", host=step.host
        )
    return {"status": status} if step.paused_too else {}


def _hello(world: World, context: Context, step: AwaitQmp, deadline_s: float, fault: Fault) -> str:
    stream = world.remote.open_stream(context.config(step.host), step.socket, deadline_s)
    try:
        fault("sent")
        return world.qmp.hello(stream, step.uuid, deadline_s)
    finally:
        stream.close()


def _command(world: World, context: Context, step: QmpCommand, fault: Fault) -> dict[str, str]:
    deadline_s = world.clock.monotonic_s() + context.settings.tashictl.connect_timeout_s
    with ExitStack() as stack:
        try:
            stream = world.remote.open_stream(context.config(step.host), step.socket, deadline_s)
            stack.callback(stream.close)
            monitor = world.qmp.talk(stream, step.uuid, deadline_s)
        except Unreachable as error:
            if not is_silence(error):
                raise
            raise _nobody(error, step) from error
        if monitor.status in step.leads_to:
            return {"status": monitor.status}
        fault("sent")
        return {"status": _given(world, monitor, step)}


def _given(world: World, monitor: Monitor, step: QmpCommand) -> str:
    try:
        status = monitor.command(step.command, world.clock.monotonic_s() + _COMMAND_S)
    except (Unreachable, OperationFailed) as error:
        if error.code == _REFUSED:
            raise
        raise _uncertain(
            error, step
        ) from error  # it was sent: an answer that is none proves nothing
    if step.leads_to and status not in step.leads_to:
        raise StepFailed(
            "E-QMPCOMMAND", f"QEMU on {step.host} is {status} after {step.command}", host=step.host
        )
    return status


def _press(world: World, context: Context, step: PressPowerButton, fault: Fault) -> dict[str, str]:
    """Press until QEMU ends; a connection that is cut is made anew until the time is over."""
    until_s = world.clock.monotonic_s() + step.timeout_s
    pressed = 0
    while True:
        try:
            for was_pressed in _dialogue(world, context, step, until_s):
                if was_pressed:
                    fault("sent")
                else:
                    pressed += 1
            break
        except Unreachable as error:
            if error.code in _GONE:
                break
            if not pressed:
                raise  # nothing was asked of the guest
            if world.clock.monotonic_s() >= until_s:
                raise _uncertain(error, step) from error
            world.clock.sleep(1.0)
    return {"pressed": {0: NEVER, 1: "once"}.get(pressed, f"{pressed} times")}


def _dialogue(
    world: World, context: Context, step: PressPowerButton, until_s: float
) -> Iterator[bool]:
    """Press in one dialogue until QEMU ends, a turn before and one after each press.

    Raises StepFailed when the time is over.
    """
    patience_s = until_s + _COMMAND_S
    stream = world.remote.open_stream(context.config(step.host), step.socket, patience_s)
    try:
        monitor = world.qmp.talk(stream, step.uuid, patience_s)
        while True:
            yield False
            monitor.command("system_powerdown", world.clock.monotonic_s() + _COMMAND_S)
            yield True
            if monitor.ends(min(until_s, world.clock.monotonic_s() + step.again_s)):
                return
            if world.clock.monotonic_s() >= until_s:
                raise StepFailed(
                    "E-SHUTDOWN-TIMEOUT",
                    f"the guest did not go within {step.timeout_s} s",
                    cause="it was asked by its power button; it may still go",
                    host=step.host,
                )
            world.clock.sleep(0)  # one of many VMs hears of Ctrl-C where its clock sleeps
    finally:
        stream.close()


def _nobody(error: Unreachable, step: Step) -> StepFailed:
    """The host was reached, and nobody is at the socket: that is the VM's trouble, not its own."""
    return StepFailed(SILENT, "its QEMU does not answer", cause=error.cause, host=step.host)


def _uncertain(error: TashiError, step: Step) -> Uncertain:
    return Uncertain(error.code, error.what, cause=error.cause, hint=error.hint, host=step.host)
