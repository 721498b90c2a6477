"""The way to a host: the inventory's words first, then the caller's ``~/.ssh/config``."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import paramiko
from msgspec import Struct

from tashictl.adapters.ssh.faults import Down
from tashictl.model.host import HostConfig
from tashictl.model.script import Fault

# What HostConfig holds where the inventory is silent: only then may the config speak.
_DEFAULT_USER = "root"
_DEFAULT_PORT = 22
_UNSET = "/unset-by-the-config"
_NEEDS_SSH = re.compile(r"^\s*(include|match|canonicalizehostname)\b", re.IGNORECASE | re.MULTILINE)
_ASK_S = 10.0

Options = Mapping[str, object]


class Route(Struct, frozen=True, kw_only=True):
    """How to reach one host. `identities` are files to try; `only` shuts everything else out.

    `proxy` is a command whose stdin and stdout are the connection.
    """

    name: str
    address: str
    port: int
    user: str
    identities: tuple[str, ...] = ()
    only: bool = False
    agent: bool = True
    proxy: str | None = None


class SshConfig:
    """Resolves hosts to routes; thread-safe.

    Plain files are read by paramiko. Files with ``Include`` or ``Match``, which paramiko takes
    for something else, are put to ``ssh -G``, as OpenSSH resolves them; without an ssh program
    such a host is refused rather than guessed. `path` None reads nothing.
    """

    def __init__(self, path: Path | None, use_agent: bool = True) -> None:
        self._path = path
        self._use_agent = use_agent
        # ssh's own default needs no word, and keeps /etc/ssh/ssh_config in force for the hops.
        usual = Path.home() / ".ssh" / "config"
        self._foreign = None if path is None or path == usual else path
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._text = ""
        self._parsed: paramiko.SSHConfig | None = None
        self._routes: dict[HostConfig, Route] = {}

    def route(self, host: HostConfig) -> Route:
        """The way to `host`; raises Down(RESOLVE) when the config cannot be used."""
        with self._lock:
            self._refresh()
            found = self._routes.get(host)
            if found is None:
                options = self._options(host)
                found = resolve(host, options, self._use_agent, self._foreign)
                self._routes[host] = found
            return found

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            seen = self._path.stat()
        except FileNotFoundError:
            seen = None
        stamp = None if seen is None else (seen.st_mtime_ns, seen.st_ino, seen.st_size)
        if stamp == self._stamp:
            return
        self._routes.clear()
        self._parsed, self._text = None, ""
        if seen is not None:
            if seen.st_mode & 0o022 or seen.st_uid not in (0, os.geteuid()):
                raise Down(
                    Fault.RESOLVE, f"{self._path} is not yours alone to write: chmod go-w it"
                )
            self._text = self._path.read_bytes().decode("utf-8", "replace")
            if not _NEEDS_SSH.search(self._text):
                self._parsed = _parse(self._text, self._path)
        self._stamp = stamp

    def _options(self, host: HostConfig) -> Options:
        if not self._text or self._path is None:
            return {}
        if self._parsed is None:
            return _ask_ssh(self._path, host)
        return self._parsed.lookup(host.name)


def resolve(
    host: HostConfig, options: Options, use_agent: bool = True, config: Path | None = None
) -> Route:
    """The route from what the inventory says and what the config says (keys in lower case)."""
    address = host.address
    if address == host.name:
        address = str(options.get("hostname", address))
    port = host.port
    if port == _DEFAULT_PORT:
        port = int(str(options.get("port", port)))
    user = host.user
    if user == _DEFAULT_USER:
        user = str(options.get("user", user))
    values = {"h": address, "n": host.name, "p": str(port), "r": user}
    listed = options.get("identityfile", [])
    files = tuple(str(f) for f in listed) if isinstance(listed, list) else (str(listed),)
    files = tuple(f for f in files if f.lower() != "none")
    return Route(
        name=host.name,
        address=address,
        port=port,
        user=user,
        identities=(host.identity_file,) if host.identity_file else files,
        only=host.identity_file is not None or _is_yes(options.get("identitiesonly")),
        agent=use_agent
        and host.identity_file is None
        and str(options.get("identityagent", "")).lower() != "none",
        proxy=_proxy(options, values, config),
    )


def _is_yes(value: object) -> bool:
    return str(value).lower() in ("yes", "true")


def _proxy(options: Options, values: Mapping[str, str], config: Path | None) -> str | None:
    jump = str(options.get("proxyjump", "none"))
    if jump.lower() != "none":
        return _jump_command(jump, f"[{values['h']}]:{values['p']}", config)
    command = str(options.get("proxycommand", "none"))
    if command.lower() == "none":
        return None
    quoted = {**{key: shlex.quote(value) for key, value in values.items()}, "%": "%"}
    return re.sub(r"%(.)", lambda m: quoted.get(m[1], m[0]), command)


def _jump_command(jump: str, target: str, config: Path | None) -> str:
    """What OpenSSH itself runs for ProxyJump: the last hop forwards, the first ones are its jump.

    The hops are not hosts of ours: the caller's own known_hosts and config rule for them.
    """
    *before, last = [hop.strip() for hop in jump.split(",")]
    words = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    if config is not None:
        words += ["-F", str(config)]
    if before:
        words += ["-J", ",".join(before)]
    if ":" in last and "://" not in last:
        last = f"ssh://{last}"
    return shlex.join([*words, "-W", target, "--", last])


def _parse(text: str, path: Path) -> paramiko.SSHConfig:
    try:
        return paramiko.SSHConfig.from_text(text)
    except (paramiko.SSHException, ValueError) as error:
        raise Down(Fault.RESOLVE, f"{path} is not understood: {error}") from error


def _ask_ssh(path: Path, host: HostConfig) -> Options:
    """What ``ssh -G`` makes of the config; defaults of ssh's own are left out."""
    ssh = shutil.which("ssh")
    if ssh is None:
        raise Down(Fault.RESOLVE, f"{path} uses Include or Match, and there is no ssh to read them")
    # The first value wins, so these show up only where the config itself is silent.
    quoted = str(path.absolute()).replace('"', "")
    text = f'Include "{quoted}"\nHost *\nUser {_UNSET}\nIdentityFile {_UNSET}\n'
    given = [] if host.address == host.name else ["-o", f"HostName={host.address}"]
    try:
        done = subprocess.run(
            [ssh, "-G", "-F", "/dev/stdin", *given, "--", host.name],
            input=text.encode(),
            capture_output=True,
            timeout=_ASK_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        told = said.decode("utf-8", "replace").strip() or str(error)
        raise Down(Fault.RESOLVE, f"ssh -G {host.name} failed: {told}") from error
    return parse_answer(done.stdout.decode("utf-8", "replace"))


def parse_answer(text: str) -> Options:
    """Read the output of ``ssh -G``: keyword, space, value; identity files add up."""
    options: dict[str, object] = {}
    files: list[str] = []
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        if value == _UNSET:
            continue
        if keyword == "identityfile":
            files.append(value)
        else:
            options.setdefault(keyword, value)
    options["identityfile"] = files
    return options
