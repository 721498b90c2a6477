import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import guard
from tests.guard import GUARD, TouchedTheWorld


def _connect() -> None:
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))


def _connect_unix() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("/nowhere.sock")


def _read_ssh() -> None:
    Path(guard._SSH, "known_hosts").read_text()


@pytest.mark.parametrize(
    "reach",
    [
        _connect,
        _connect_unix,
        _read_ssh,
        lambda: list(Path(guard._SSH).iterdir()),
        lambda: socket.getaddrinfo("localhost", 22),
        lambda: subprocess.run(["/bin/true"], check=True),
        lambda: os.system("true"),  # noqa: S605
        lambda: os.fork(),
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
    ],
)
def test_a_fast_test_that_reaches_outside_is_stopped(reach: Callable[[], object]) -> None:
    with pytest.raises(TouchedTheWorld):
        reach()

    assert len(GUARD.touched) == 1
    GUARD.touched.clear()


def test_what_a_thread_touched_is_seen_though_its_error_is_lost() -> None:
    def swallowed() -> None:
        try:
            _connect()
        except BaseException:  # noqa: BLE001  the point of the test
            return

    thread = threading.Thread(target=swallowed)
    thread.start()
    thread.join()

    assert GUARD.touched
    GUARD.touched.clear()


def test_files_of_the_test_and_socket_pairs_are_free(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("b")
    left, right = socket.socketpair()
    left.send(b"x")

    assert right.recv(1) == b"x"
    left.close()
    right.close()
