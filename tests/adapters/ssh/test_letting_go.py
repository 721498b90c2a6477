"""What a connection leaves in memory when it has ended."""

from __future__ import annotations

import gc
import socket
import threading
import weakref
from collections.abc import Iterator

import paramiko
import pytest

from tashictl.adapters.ssh.transport import Wire


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collector that tidies up behind us."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_a_connection_that_has_ended_is_gone_without_a_collection() -> None:
    near, far = socket.socketpair()
    server = paramiko.Transport(far)
    server.add_server_key(paramiko.ECDSAKey.generate())
    server.start_server(event=threading.Event(), server=paramiko.ServerInterface())
    wire = Wire(near)
    before = threading.active_count()
    wire.start_client(timeout=20.0)
    assert threading.active_count() == before + 1  # and no timer
    gone = weakref.ref(wire)
    wire.close()
    wire.join(20.0)
    server.close()
    del wire
    assert gone() is None
