"""From what a host answered to a step of the switch to the error that says it."""

from __future__ import annotations

from tashictl.errors import Conflict, OperationFailed, TashiError
from tashictl.model.steps import ArmNet, ConfirmNet, RollbackNet, Step
from tashictl.planning.net.text import why_back


def refused(step: Step, host: str, why: str, cause: str) -> TashiError:
    """The error for a step that the host answered with no; `why` is the switch's word for it."""
    cause = why_back(cause)
    match step:
        case ArmNet():
            return _not_armed(host, why, cause)
        case ConfirmNet():
            return _not_confirmed(host, why, cause)
        case RollbackNet():
            return Conflict(
                "E-NET-ENDED",
                f"{host}: nothing was taken back",
                cause=cause,
                hint=f"tashictl net list --pending {host}",
                host=host,
            )
        case _:
            return OperationFailed(
                "E-NET-GO", f"{host}: the change of its network did not begin", cause=cause,
                hint=f"tashictl net list --pending {host}", host=host,
            )  # fmt: skip


def _not_armed(host: str, why: str, cause: str) -> TashiError:
    if why == "busy":
        return Conflict(
            "E-NET-BUSY",
            f"{host}: a change of its network is in flight",
            cause=cause,
            hint=f"wait for its end (tashictl net list --pending {host}), or net rollback {host}",
            host=host,
        )
    if why == "stale":
        return Conflict(
            "E-NET-STALE",
            f"{host}: its network was changed since it was looked at; nothing was begun",
            cause=cause,
            hint=f"tashictl net diff {host}, then net apply again",
            host=host,
        )
    hint = f"tashictl host check {host}"
    if why == "lint":
        hint = f"mend its template, or the host's own file: tashictl net diff {host} shows it"
    return OperationFailed(
        "E-NET-LINT" if why == "lint" else "E-NET-ARM",
        f"{host}: the change of its network was not begun, and nothing was changed",
        cause=cause,
        hint=hint,
        host=host,
    )


def _not_confirmed(host: str, why: str, cause: str) -> TashiError:
    what = f"{host}: nothing was confirmed"
    if why == "write":
        hint = f"mend that, then confirm again before it goes back by itself:\n\
tashictl net list --pending {host}"
        return OperationFailed("E-NET-WRITE", what, cause=cause, hint=hint, host=host)
    code, hint = {
        "early": ("E-NET-EARLY", f"tashictl net list --pending {host} tells when it is applied"),
        "changed": (
            "E-NET-FILES",
            f"it goes back by itself, or now: tashictl net rollback {host}; then net diff {host}",
        ),
    }.get(why, ("E-NET-LATE", f"tashictl net apply {host}"))
    return Conflict(code, what, cause=cause, hint=hint, host=host)
