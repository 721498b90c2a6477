"""User-data as cloud-init takes it: which kind it is, and what is wrong with it. Never changed.

The kinds are told by the first words (cloud-init: handlers/__init__.py, user_data.py). A mistake
in it would otherwise be found when the guest has booted, in a log that nobody can reach.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from tashictl.errors import InvalidRequest, TashiError
from tashictl.planning.nearest import nearest

MAX_BYTES = 512 * 1024
_MIME_BYTES = 4096  # cloud-init looks for Mime-Version in these
_CONFIG = "#cloud-config"
_ARCHIVE = "#cloud-config-archive"
_KINDS = (
    *("#!", "#include", "#include-once", _CONFIG, _ARCHIVE, "#cloud-config-jsonp"),
    *("#part-handler", "#cloud-boothook", "## template: jinja"),
)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# fmt: off
# The top-level keys of cloud-config: the schema of cloud-init 24, and what its documentation adds.
KEYS = frozenset({
    "allow_public_ssh_keys", "ansible", "apk_repos", "apt", "apt_pipelining",
    "apt_reboot_if_required", "apt_update", "apt_upgrade", "authkey_hash", "autoinstall", "bootcmd",
    "byobu_by_default", "ca-certs", "ca_certs", "chef", "chpasswd", "cloud_config_modules",
    "cloud_final_modules", "cloud_init_modules", "create_hostname_file", "datasource",
    "datasource_list", "device_aliases", "disable_ec2_metadata", "disable_root",
    "disable_root_opts", "disk_setup", "drivers", "fan", "final_message", "fqdn", "fs_setup",
    "groups", "growpart", "grub-dpkg", "grub_dpkg", "hostname", "keyboard", "landscape",
    "launch-index", "locale", "locale_configfile", "lxd", "manage_etc_hosts",
    "manage_resolv_conf", "mcollective",
    "merge_how", "merge_type", "migrate", "mount_default_fields", "mounts", "network",
    "no_ssh_fingerprints", "ntp", "output", "package_reboot_if_required", "package_update",
    "package_upgrade", "packages", "password", "phone_home", "power_state",
    "prefer_fqdn_over_hostname", "preserve_hostname", "puppet", "random_seed", "reporting",
    "resize_rootfs", "resolv_conf", "rh_subscription", "rpi", "rsyslog", "runcmd", "salt_minion",
    "snap", "spacewalk", "ssh", "ssh_authorized_keys", "ssh_deletekeys", "ssh_fp_console_blacklist",
    "ssh_genkeytypes", "ssh_import_id", "ssh_key_console_blacklist", "ssh_keys",
    "ssh_publish_hostkeys", "ssh_pwauth", "ssh_quiet_keygen", "swap", "system_info", "timezone",
    "ubuntu_advantage", "ubuntu_autoinstall", "ubuntu_pro", "updates", "user", "users",
    "vendor_data", "vendor_data2", "version", "wireguard", "write_files", "yum_repo_dir",
    "yum_repos", "zypper",
})
# fmt: on


def problems(data: bytes, *, with_keys: bool = False) -> list[TashiError]:
    """All that is wrong with user-data; `with_keys` says that keys are to reach the guest too."""
    if len(data) > MAX_BYTES:
        return [_bad("the file is too large", f"more than {MAX_BYTES // 1024} KiB")]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = "gunzip it first" if data.startswith(b"\x1f\x8b") else ""
        cause = f"byte {error.start + 1} is not UTF-8"
        return [_bad("the file holds no text", cause, hint)]
    if not text.strip():
        return [_bad("the file is empty", "")]
    kind = kind_of(text)
    if kind is None:
        return [_unknown_kind(text)]
    if kind == _ARCHIVE:
        return list(_faults(text, yaml.SequenceNode, "a list"))
    if kind != _CONFIG:
        return []
    found: list[TashiError] = list(_faults(text, yaml.MappingNode, "a mapping"))
    if with_keys and not found:
        found += _keys_refused(text)
    return found


def warnings(data: bytes) -> list[str]:
    """Top-level keys of a cloud-config that are probably misspelt; for data without problems."""
    text = data.decode("utf-8", "replace")
    if kind_of(text) != _CONFIG:
        return []
    root = yaml.compose(text, Loader=_LOADER)
    found = []
    for key, _ in root.value if isinstance(root, yaml.MappingNode) else ():
        near = None if key.value in KEYS else nearest(str(key.value), KEYS)
        if near:
            line = key.start_mark.line + 1
            found.append(f"--cloud-init: line {line}: {key.value!r}, did you mean {near}?")
    return found


def kind_of(text: str) -> str | None:
    """How user-data begins (one of cloud-init's words, ``mime`` for a message), None if unknown."""
    if "mime-version:" in text[:_MIME_BYTES].lower():
        return "mime"
    begin = text.lstrip().lower()
    if begin.startswith("#!"):
        return "#!"
    head = begin.split("\n", 1)[0].rstrip()
    if head.startswith("## template:"):
        return "## template: jinja" if head.split(":", 1)[1].strip() == "jinja" else None
    word = head.split(None, 1)[0] if head else ""
    return word if word in _KINDS else None


def _unknown_kind(text: str) -> InvalidRequest:
    if text.startswith("\ufeff"):
        return _bad("there is a byte order mark before line 1", "cloud-init would not read it")
    head = text.lstrip().split("\n", 1)[0].strip()
    known = "#cloud-config, #!, #include, #cloud-boothook, ## template: jinja or a MIME message"
    if not head.startswith("#"):
        return _bad(
            "line 1 does not say what the file is",
            "cloud-init would not read it",
            f"{_CONFIG} alone in line 1 for a cloud-config; else {known}",
        )
    near = nearest(head.split()[0], _KINDS)
    hint = f"did you mean {near}?" if near else f"it begins with {known}"
    return _bad(f"line 1: {head[:40]!r} is unknown to cloud-init", "", hint)


def _bad(what: str, cause: str, hint: str = "") -> InvalidRequest:
    return InvalidRequest("E-CLOUD-INIT", f"--cloud-init: {what}", cause=cause, hint=hint)


def _at(mark: yaml.Mark | None, what: str, cause: str = "") -> InvalidRequest:
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return _bad(f"{where}{what}", cause)


def _faults(text: str, wanted: type[yaml.Node], called: str) -> Iterator[InvalidRequest]:
    try:
        root = yaml.compose(text, Loader=_LOADER)
        if root is None:
            return  # nothing but comments, which is a cloud-config that asks for nothing
        if not isinstance(root, wanted):
            yield _at(root.start_mark, f"the document is not {called}")
            return
        yield from _doubles(root)
        yaml.load(text, Loader=_LOADER)  # the safe loader: dates, numbers, tags
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        yield _at(mark, f"no YAML: {error.problem or error.context or 'it cannot be parsed'}")
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        yield _bad(f"line {line}: a character that YAML does not allow", "")
    except RecursionError:
        yield _bad("no YAML: too many levels", "")
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        yield _bad(f"no YAML: {error}", "")


def _doubles(root: yaml.Node) -> Iterator[InvalidRequest]:
    """Keys that are there twice in one mapping: the last would win, in silence."""
    seen, waiting = {id(root)}, [root]
    while waiting:
        node = waiting.pop()
        below: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            below = [value for _, value in node.value]
            lines: dict[tuple[str, str], int] = {}
            for key, _ in node.value:
                known = (key.tag, str(key.value))
                if known in lines:
                    first = f"first in line {lines[known]}"
                    yield _at(key.start_mark, f"{key.value!r} is there twice, {first}")
                lines[known] = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            below = list(node.value)
        fresh = [n for n in below if id(n) not in seen]  # an alias is the node that it names
        seen.update(map(id, fresh))
        waiting += fresh


def _keys_refused(text: str) -> list[TashiError]:
    """Keys travel in the meta-data, which a cloud-config can tell cloud-init not to look at."""
    config = yaml.load(text, Loader=_LOADER)
    if not config or config.get("allow_public_ssh_keys", True):
        return []
    return [
        _bad(
            "allow_public_ssh_keys is false, but there is --ssh-key",
            "cloud-init would ignore the keys",
            "leave one of the two out, or name the keys under ssh_authorized_keys",
        )
    ]
