"""From what a host answered, or did not, to the error that says it."""

from __future__ import annotations

from tashictl.errors import (
    Conflict,
    NotPermitted,
    StepFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model.script import Fault, Reply
from tashictl.model.steps import CreateOverlay, ProbeAddress, Step
from tashictl.model.steps_net import NetStep
from tashictl.ops import net_answers
from tashictl.planning.shell import quote

# A rebuild needs every host, or to be told of those that are lost; a newer copy needs none.
OLD_DATABASE_HINT = (
    "tashictl state rebuild, from what the hosts know;"
    " or tashictl state restore with the newest backup"
)


def unreachable(host: str, reply: Reply) -> TashiError:
    """The error for a reply whose script never left; a changed key is exit 7, the rest exit 6."""
    fault = reply.fault or Fault.CUT
    cause = fault.value + (f": {reply.detail}" if reply.detail else "")
    if fault is Fault.HOSTKEY_CHANGED:
        return NotPermitted(
            "E-HOSTKEY-CHANGED",
            f"{host}: refused",
            cause=cause,
            hint=f"if the host was reinstalled: tashictl host trust {host} --fingerprint SHA256:…",
            host=host,
        )
    hint = f"tashictl host check {host}"
    if fault is Fault.HOSTKEY_UNKNOWN:
        hint = f"tashictl host trust {host}"
    return Unreachable(
        f"E-{fault.name.replace('_', '-')}",
        f"{host} not reached",
        cause=cause,
        hint=hint,
        host=host,
    )


def failed(step: str, host: str, reply: Reply) -> StepFailed:
    """The error for a step that the controller did itself and that the host answered with no."""
    cause = reply.err.decode("utf-8", "replace").strip()[-500:]
    return StepFailed(
        f"E-{step.upper()}",
        f"{step} failed on {host}",
        cause=cause or f"exit code {reply.rc}",
        host=host,
    )


def step_failed(step: Step, host: str, cause: str, why: str = "") -> TashiError:
    """The error for a step of a script that the host answered with no.

    `why` is the word for the reason, where the step's script has such.
    """
    if isinstance(step, NetStep):
        return net_answers.refused(step, host, why, cause)
    hint = f"tashictl host check {host}"
    if isinstance(step, ProbeAddress):
        hint = "it rests now, the next VM gets another: repeat it"
    if isinstance(step, CreateOverlay):
        image = step.base.removeprefix(f"{step.image_folder}/")
        again = f"tashictl image import FILE --name {quote(image)} --host {host}"
        hint = f"{again}   if the image is gone there\n{hint}"
    return StepFailed(
        f"E-{step.name.upper()}", f"{step.name} failed on {host}", cause=cause, hint=hint, host=host
    )


def no_answer(host: str, reply: Reply) -> TashiError:
    """The error for a script that was sent and whose full answer never came."""
    cause = reply.fault.value if reply.fault else "the answer ends in the middle"
    if reply.rc in (124, 137):
        cause = "the script ran into its deadline on the host"
    elif reply.fault is None and reply.err:
        cause += ": " + reply.err.decode("utf-8", "replace").strip()[-300:]
    return Uncertain(
        "E-UNCERTAIN",
        f"no full answer from {host}",
        cause=cause,
        hint=f"tashictl host check {host}",
        host=host,
    )


def refusal(host: str, why: str, value: str) -> TashiError:
    """The error for a script that the host's fence did not let begin; nothing was done by it."""
    if why == "foreign":
        return NotPermitted(
            "E-FOREIGN",
            f"{host} belongs to another cluster ({value})",
            hint="use a host of this cluster, or free it there first",
            host=host,
        )
    if why in ("epoch", "counter", "generation"):
        return NotPermitted(
            "E-OLD-DATABASE",
            f"{host} knows more than the database ({why} {value})",
            cause="the state file is an old copy; to go on would give ids out twice",
            hint=OLD_DATABASE_HINT,
            host=host,
        )
    if why == "newer":
        return Conflict(
            "E-TAKEN-OVER", f"another operation took over on {host}", cause=value, host=host
        )
    texts = {
        "late": ("E-LATE", "the host's clock says that the script came too late"),
        "unclaimed": ("E-UNCLAIMED", "nobody has claimed the host"),
        "busy": ("E-BUSY", "another script holds the lock on the host"),
        "folder": ("E-FOLDER", "cannot be written (full, read-only, or not permitted)"),
        "manifest": ("E-MANIFEST", "the folder belongs to another VM"),
    }
    code, cause = texts.get(why, ("E-REFUSED", why))
    hint = f"tashictl host check {host}" if why in ("folder", "late") else ""
    if why == "unclaimed":
        hint = f"tashictl host add {host}"
    what = f"{host} refused: {value}".rstrip(": ")
    return StepFailed(code, what, cause=cause, hint=hint, host=host)
