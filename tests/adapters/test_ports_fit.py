"""The adapters fit the ports: mypy reads these lines, and they must at least run."""

from pathlib import Path

from tashictl.adapters.dispatch import Dispatch, DryRunRemote
from tashictl.adapters.local import LocalRemote, SocketStream
from tashictl.adapters.ssh.hostkeys import HostKeyStore
from tashictl.adapters.ssh.remote import SshRemote
from tashictl.adapters.ssh.stream import ChannelStream
from tashictl.ops.ports import Remote, Stream, Trust

STREAMS: tuple[type[Stream], ...] = (ChannelStream, SocketStream)


def test_every_remote_and_the_trust_fit_their_ports(tmp_path: Path) -> None:
    ssh: Remote = SshRemote(tmp_path / "known_hosts")
    local: Remote = LocalRemote()
    dispatch: Remote = Dispatch(
        {"local": LocalRemote, "paramiko": lambda: SshRemote(tmp_path / "known_hosts")}
    )
    dry: Remote = DryRunRemote(LocalRemote())
    trust: Trust = HostKeyStore(tmp_path / "known_hosts")
    for remote in (ssh, local, dispatch, dry):
        remote.close()
    assert trust.key_of("h1") == ()
    assert list(tmp_path.iterdir()) == []
