"""From what a bare host has to what it lacks: the changes of `host setup`, with their steps.

A file that was there before and does not carry our mark is the operator's: it is told, and left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from tashictl.errors import NotPermitted, OperationFailed, TashiError
from tashictl.model.host import HostConfig
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.steps import (
    InstallPackages,
    JoinGroup,
    LoadModule,
    MakeUser,
    Plan,
    PutFile,
    SetFolder,
    Step,
)
from tashictl.planning import paths, render, setup_packages
from tashictl.planning.facts import REQUIRED
from tashictl.planning.net.layout import style_of
from tashictl.planning.requirements import place
from tashictl.planning.setup_look import QEMU, Asked, Seen
from tashictl.planning.setup_names import KVM, MARK, MODULES, SUDOERS, USER

_ALL_PASS = 0o001
_ALL_USE = 0o006
_PAST = {
    "install": "installed",
    "create": "created",
    "rewrite": "rewrote",
    "add": "added",
    "open": "opened",
    "load": "loaded",
}


class Wanted(Struct, frozen=True, kw_only=True):
    """What a host is to become; `config` is the inventory's, whatever login is used just now.

    `networks` are those that it carries and that need a bridge; `ifup_template` is the text of
    qemu-ifup.j2. Without `packages` the operator installs them; `timeout_s` is what they may take.
    """

    config: HostConfig
    settings: Settings
    networks: tuple[Network, ...]
    ifup_template: str
    packages: bool = True
    timeout_s: int = 900

    @property
    def vlans(self) -> bool:
        """Whether it carries tagged networks."""
        return any(n.vlan is not None for n in self.networks)

    @property
    def sudo(self) -> bool:
        """Whether its login becomes root."""
        return self.config.become and self.config.user != "root"


class Change(Struct, frozen=True, kw_only=True):
    """One thing that is changed: `verb` and `what` (``create``, ``user tashi-qemu``)."""

    verb: str
    what: str
    step: Step

    @property
    def text(self) -> str:
        """As it would be done."""
        return f"{self.verb} {self.what}"

    @property
    def done(self) -> str:
        """As it was done."""
        return f"{_PAST[self.verb]} {self.what}"


class Decision(Struct, frozen=True, kw_only=True):
    """What a host lacks; `notes` are what is left alone or cannot be helped from here."""

    host: str
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """The steps."""
        return tuple(change.step for change in self.changes)


def wanted(
    config: HostConfig, settings: Settings, networks: Iterable[Network], ifup_template: str
) -> Wanted:
    """What a host is to become that carries those of `networks` that the inventory gives it."""
    wired = place(config, settings, networks).wired
    bridged = tuple(n for n in wired if n.bridge is not None)
    return Wanted(config=config, settings=settings, networks=bridged, ifup_template=ifup_template)


def asked(want: Wanted) -> Asked:
    """What is to be looked at before it is decided."""
    ifups = (paths.ifup(n.id, want.settings) for n in want.networks)
    tools = (*REQUIRED, *_MORE_TOOLS, *_NET_TOOLS)
    files = (*ifups, SUDOERS, MODULES)
    return Asked(tools=tools, login=want.config.user, files=files)


def decide(want: Wanted, seen: Seen) -> Decision:
    """What the host lacks; raises NotPermitted, OperationFailed where it cannot be made ready."""
    refuse(want, seen)
    found = [*_packages(want, seen), *_user(want, seen), *_folders(want, seen)]
    found += [*_ifups(want, seen), *_sudoers(want, seen), *_vlan(want, seen)]
    return Decision(
        host=want.config.name,
        changes=tuple(f for f in found if isinstance(f, Change)),
        notes=tuple(f for f in found if isinstance(f, str)),
    )


def refuse(want: Wanted, seen: Seen) -> None:
    """Raise why nothing can be done there: another cluster's host, or a login without rights."""
    name, ours = want.config.name, want.settings.tashictl.cluster_id
    if seen.cluster not in (None, ours):
        raise NotPermitted(
            "E-FOREIGN",
            f"{name} belongs to another cluster ({seen.cluster})",
            hint="use a host of this cluster, or free it there first",
            host=name,
        )
    if seen.ground.uid != 0:
        raise NotPermitted(
            "E-NOT-ROOT",
            f"{name}: {seen.ground.user} is not root there",
            cause="packages, users and files of /etc need root",
            hint=f"tashictl host setup {name} --login root"
            "\nor become: true in the inventory, if it may sudo without a password",
            host=name,
        )


# -- packages


_MORE_TOOLS = ("setpriv", "useradd", "sudo", "visudo", "modprobe", "socat")
_NET_TOOLS = ("brctl", "vconfig", "ifconfig")


def needed(want: Wanted, seen: Seen) -> tuple[str, ...]:
    """The programs that this host must have, for its networks and its login."""
    tools = [QEMU, "setpriv", "useradd"]
    tools += [tool for tool in REQUIRED if tool != "ip" or want.networks]
    if want.sudo:
        tools += ["sudo", "visudo"]
    if want.vlans:
        tools.append("modprobe")
    land = seen.ground
    if land.forwarding not in ("yes", "all", "local", "unknown") and not land.relay:
        tools.append("socat")
    style = want.config.style or ("ifupdown" if seen.ifupdown else "")
    if want.networks and style in ("ifupdown", "legacy"):
        tools.append("brctl")
    if want.networks and style == "legacy":
        tools += ["ifconfig", *(["vconfig"] if want.vlans else [])]
    return tuple(tools)


def lacking(want: Wanted, seen: Seen) -> tuple[str, ...]:
    """Those of them that are missing."""
    return tuple(tool for tool in needed(want, seen) if tool in seen.missing)


def _packages(want: Wanted, seen: Seen) -> Iterator[Change | str]:
    tools = lacking(want, seen)
    if QEMU in tools and want.settings.qemu.qemu_bin:
        yield f"{want.settings.qemu.qemu_bin} ([Qemu] qemuBin) is not there: install it by hand"
        tools = tuple(tool for tool in tools if tool != QEMU)
    if not tools:
        return
    if not want.packages:
        yield f"missing, and left to you: {', '.join(tools)}"
        return
    manager = setup_packages.manager_of(seen)
    if manager is None:
        raise no_manager(want, seen, tools)
    packages = setup_packages.names(tools, manager, seen.arch)
    at = paths.at_host(want.config.name, want.settings)
    step = InstallPackages(**at, manager=manager, packages=packages, timeout_s=want.timeout_s)
    yield Change(verb="install", what=", ".join(packages), step=step)


def no_manager(want: Wanted, seen: Seen, tools: Iterable[str]) -> TashiError:
    """The error for a system whose packages we do not know."""
    name = want.config.name
    return OperationFailed(
        "E-PACKAGES",
        f"{name} lacks {', '.join(tools)}",
        cause=f"packages are known of Debian and Fedora and their kin, and it is {seen.os_name}",
        hint=f"install them by hand, then: tashictl host setup {name} --no-packages",
        host=name,
    )


def _comes(tool: str, want: Wanted, seen: Seen) -> bool:
    """Whether a program is there, or is installed first."""
    return want.packages or tool not in seen.missing


# -- user and folders


def _user(want: Wanted, seen: Seen) -> Iterator[Change | str]:
    at = paths.at_host(want.config.name, want.settings)
    if seen.groups is None and not _comes("useradd", want, seen):
        yield f"no user {USER}: there is no useradd; VMs run as root"
        return
    if seen.groups is None:
        yield Change(verb="create", what=f"user {USER}", step=MakeUser(**at, user=USER))
    if seen.kvm is None:
        return
    mode, group = seen.kvm
    if mode & _ALL_USE == _ALL_USE or group in (seen.groups or ()):
        return
    if group == "root":
        yield f"{KVM} is root's alone, so VMs of {USER} cannot use it: chgrp kvm {KVM}"
        return
    step = JoinGroup(**at, user=USER, device=KVM)
    yield Change(verb="add", what=f"{USER} to group {group} ({KVM})", step=step)


def _folders(want: Wanted, seen: Seen) -> Iterator[Change | str]:
    ours = want.settings.tashictl
    folders = {"lib": ours.lib_dir, "run": ours.run_dir}
    if not want.settings.vfs_shared:  # what is mounted there later is another host's to make
        folders["prefix"] = want.settings.vfs_prefix.rstrip("/")
        folders["images"] = want.settings.image_folder
    at = paths.at_host(want.config.name, want.settings)
    for name, path in folders.items():
        mode = seen.modes.get(name)
        step = SetFolder(**at, path=path)
        if mode is None:
            yield Change(verb="create", what=path, step=step)
        elif not mode & _ALL_PASS:
            yield Change(verb="open", what=f"{path} for {USER} to pass through", step=step)


# -- files


def _ifups(want: Wanted, seen: Seen) -> Iterator[Change | str]:
    for network in want.networks:
        # As a VM's start renders it, or the two would rewrite it in turn.
        content = render.ifup(
            want.ifup_template, network, style=style_of(want.config), host=want.config.name
        )
        path = paths.ifup(network.id, want.settings)
        yield from _file(want, seen, (path, content, "755", render.IFUP_MARK))


def _sudoers(want: Wanted, seen: Seen) -> Iterator[Change | str]:
    user = want.config.user
    if not want.sudo:
        return
    if not seen.login_there:
        yield f"no user {user}: {SUDOERS} is not made"
    elif not _comes("visudo", want, seen):
        yield f"no visudo to check it with: {SUDOERS} is not made"
    elif not seen.sudoers_read and "visudo" not in seen.missing:
        yield f"/etc/sudoers does not read /etc/sudoers.d: {SUDOERS} is not made"
    else:
        yield from _file(want, seen, (SUDOERS, sudoers(user), "440", MARK))


def sudoers(user: str) -> str:
    """What lets `user` become root without a password; honest: that is root."""
    return f"{MARK}; who may do this is root\n{user} ALL=(root) NOPASSWD: ALL\n"


def _vlan(want: Wanted, seen: Seen) -> Iterator[Change | str]:
    if not want.vlans:
        return
    yield from _file(want, seen, (MODULES, f"{MARK}\n8021q\n", "644", MARK))
    if seen.vlan == "available":
        at = paths.at_host(want.config.name, want.settings)
        yield Change(verb="load", what="8021q", step=LoadModule(**at, module="8021q"))
    elif seen.vlan != "loaded":
        yield "its kernel has no 8021q, which tagged networks need"


def _file(want: Wanted, seen: Seen, file: tuple[str, str, str, str]) -> Iterator[Change | str]:
    path, content, mode, mark = file
    before = seen.files.get(path)
    if before is not None and mark not in before[1]:
        yield f"{path} is the operator's own, and stays"
        return
    # What a shell writes ends with one newline, whatever the template had.
    if before == (int(mode, 8), content.rstrip() + "\n"):
        return
    at = paths.at_host(want.config.name, want.settings)
    step = PutFile(**at, path=path, content=content, mode=mode, mark=mark, sudoers=path == SUDOERS)
    yield Change(verb="create" if before is None else "rewrite", what=path, step=step)
