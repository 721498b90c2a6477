"""What we hook in paramiko must still be there, and mean what it meant (paramiko 5.1)."""

import inspect
import threading

import paramiko
import pytest
from paramiko.agent import AgentSSH
from paramiko.buffered_pipe import BufferedPipe
from paramiko.channel import Channel
from paramiko.packet import Packetizer

from tashictl.adapters.ssh.transport import Wire

METHODS = {
    paramiko.Transport: {
        "_check_banner": ["self"],
        "_send_kex_init": ["self"],
        "_next_channel": ["self"],
        "_sanitize_window_size": ["self", "window_size"],
        "_sanitize_packet_size": ["self", "max_packet_size"],
        "_send_user_message": ["self", "data"],
        "start_client": ["self", "event", "timeout"],
    },
    Channel: {
        "_set_transport": ["self", "transport"],
        "_set_window": ["self", "window_size", "max_packet_size"],
        "_event_pending": ["self"],
    },
    Packetizer: {"read_message": ["self"], "start_handshake": ["self", "timeout"]},
    AgentSSH: {"_send_message": ["self", "msg"]},
    BufferedPipe: {"set_event": ["self", "event"]},
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in METHODS.items() for name in names]
)
def test_a_hooked_method_has_the_signature_that_we_call(kind: type, name: str) -> None:
    assert list(inspect.signature(getattr(kind, name)).parameters) == METHODS[kind][name]


def test_the_channel_has_the_parts_that_we_read() -> None:
    channel = Channel(7)
    assert isinstance(channel.in_buffer, BufferedPipe)
    assert isinstance(channel.in_stderr_buffer, BufferedPipe)
    assert isinstance(channel.event, threading.Event)
    assert isinstance(channel.status_event, threading.Event)
    assert (channel.event_ready, channel.exit_status) == (False, -1)
    assert (channel.eof_received, channel.closed) == (False, False)


def test_the_client_still_asks_its_policy_when_it_knows_no_key() -> None:
    source = inspect.getsource(paramiko.SSHClient.connect)
    start, ask, login = (
        source.index(text)
        for text in (
            "t.start_client(",
            "self._policy.missing_host_key(",
            "auth_strategy.authenticate(",
        )
    )
    assert start < ask < login
    assert "if our_server_keys is None:" in source[start:ask]


def test_the_transport_calls_what_we_override_in_this_order() -> None:
    source = inspect.getsource(paramiko.Transport.run)
    banner, kex = source.index("self._check_banner()"), source.index("self._send_kex_init()")
    assert banner < kex


def test_our_own_settings_are_those_that_paramiko_reads() -> None:
    assert vars(paramiko.Transport)["_active_check_timeout"] == 0.1
    assert Wire._active_check_timeout == 5.0
    assert Wire._preferred_ciphers[0] == "aes128-gcm@openssh.com"
    assert set(Wire._preferred_ciphers) <= set(vars(paramiko.Transport)["_preferred_ciphers"])
    assert not [name for name in Wire._preferred_ciphers if "cbc" in name]
