"""How a sweep is called and what it says: by cron, by a terminal, in a dry run, with sick books."""

import json
import os
import pty
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import invariants, sweeping
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl
from tests.live.sweeping import BRAKE, PROBLEMS, create, states, sweep, vm

_EVENTS, _STATS = "events.sqlite", "stats.sqlite"


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster of three hosts."""
    return sweeping.cluster_of(lab, tmp_path_factory.mktemp("face") / "cluster", tashictl_argv)


@pytest.fixture(autouse=True)
def clean(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """Nothing is wrong after a test."""
    yield
    sweeping.reset(lab, cluster)


def fall_ill(lab: Lab, cluster: Tashictl) -> None:
    """One VM that ended, one on a host that is away, and a create that was killed."""
    create(cluster, "web1", "h1")
    create(cluster, "web2", "h2")
    sweeping.silent(cluster)
    kill = {"TASHICTL_FAULT": "AddTap:after:kill"}
    cluster.run(*sweeping.CREATE, "cut", "--host", "h3", env=kill, check=False)
    lab.host("h1").run("kill -9 $(cat /run/tashi/*/*/qemu.pid)", check=True)
    lab.host("h2").stop_sshd()


def test_a_dry_run_shows_what_a_sweep_would_do_and_changes_nothing_anywhere(
    lab: Lab, cluster: Tashictl
) -> None:
    fall_ill(lab, cluster)
    with invariants.untouched(lab, cluster):
        said = sweep(cluster, "--dry-run", rc=PROBLEMS).out
        found = sweeping.round_of(cluster, "--dry-run", rc=PROBLEMS)
    for words in (
        "web1 on h1 is Exited",
        "web2 on h2 is Orphaned",
        "would settle  cut on h3: create was interrupted",
        "host-down:h2",
        "nothing was changed",
    ):
        assert words in said, said
    real = sweeping.round_of(cluster, rc=PROBLEMS)
    assert sweeping.ids(real) == sweeping.ids(found)
    assert {(r["kind"], r["target"]) for r in found["repairs"]} == {
        (r["kind"], r["target"]) for r in real["repairs"]
    }
    cluster.run("event", "ack", "host-down:*", "vm-exited:*")
    for more in ((), ("--dry-run",)):
        assert "host-down:h2" not in sweep(cluster, *more).out
    lab.host("h1").stop_sshd()
    lab.host("h3").stop_sshd()
    with invariants.untouched(lab, cluster):
        assert "it would stop" in sweep(cluster, "--dry-run", rc=BRAKE).out
    assert cluster.run("sweep", check=False).rc == BRAKE


def test_quiet_tells_a_problem_once_and_still_has_its_exit_code(
    lab: Lab, cluster: Tashictl
) -> None:
    fall_ill(lab, cluster)
    first = sweep(cluster, "--quiet", rc=PROBLEMS).out
    assert "vm-exited:web1" in first
    assert "host-down:h2" in first
    sweeping.silent_but(cluster, PROBLEMS, "--quiet")
    assert "vm-exited:web1" in sweep(cluster, rc=PROBLEMS).out
    lab.host("h2").start_sshd()
    sweep(cluster, "--quiet", rc=PROBLEMS)
    lab.host("h3").stop_sshd()
    third = sweep(cluster, "--quiet", rc=PROBLEMS).out
    assert "host-down:h3" in third
    assert "vm-exited:web1" not in third


def test_a_round_is_one_json_object_whatever_it_found(lab: Lab, cluster: Tashictl) -> None:
    well = sweep(cluster, "-o", "json")
    keys = {"at", "seconds", "hosts", "events", "problems", "new", "gone", "repairs", "left"}
    assert set(json.loads(well.out)) == keys
    fall_ill(lab, cluster)
    ill = sweep(cluster, "-o", "json", rc=PROBLEMS)
    found = json.loads(ill.out)
    assert set(found) == keys
    assert ill.err == ""
    assert (found["hosts"]["asked"], found["hosts"]["answered"]) == (3, 2)
    assert found["new"] == ["host-down:h2", "vm-exited:web1"]


def test_what_there_is_no_time_for_is_left_to_the_next_round(lab: Lab, cluster: Tashictl) -> None:
    assert sweep(cluster, "--timeout", "1s", rc=2)
    fall_ill(lab, cluster)
    lab.host("h2").start_sshd()
    lab.host("h2").stop_sshd_silently()
    slow = {"TASHICTL_TASHICTL_CONNECTTIMEOUT": "30"}
    begun_s = time.monotonic()
    done = cluster.run("sweep", "--timeout", "5s", "-o", "json", env=slow, check=False)
    assert (done.rc, done.json()["left"]) == (PROBLEMS, ["settle cut"]), str(done)
    assert time.monotonic() - begun_s < 20
    assert vm(cluster, "cut")["operation"]
    lab.host("h2").resume_sshd()
    left = sweeping.round_of(cluster, rc=PROBLEMS)
    assert [r["target"] for r in left["repairs"]] == ["cut"]
    assert states(cluster) == {"web1": "Exited", "web2": "Running"}


def test_watch_shows_the_cluster_again_and_again_until_ctrl_c(lab: Lab, cluster: Tashictl) -> None:
    create(cluster, "web1", "h1")
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started the tests may have ignored it
        env = {"HOME": str(cluster.home), "TASHICTL_CLUSTER": str(cluster.cluster)}
        env |= {"PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        os.execve(cluster.argv[0], [*cluster.argv, "sweep", "--watch", "2"], env)
    try:
        first = _shown(terminal, lambda seen: "3 hosts seen, all well" in seen)
        assert "1 VM" in first
        assert "3 hosts up" in first
        lab.host("h1").run("kill -9 $(cat /run/tashi/*/*/qemu.pid)", check=True)
        _shown(terminal, lambda seen: "web1 on h1 is Exited" in seen)
        assert states(cluster) == {"web1": "Exited"}
        os.write(terminal, b"\x03")
        rest = _shown(terminal, lambda _: False)
        assert "Traceback" not in rest
    finally:
        os.close(terminal)
        deadline_s = time.monotonic() + 20
        found, status = os.waitpid(pid, os.WNOHANG)
        while not found and time.monotonic() < deadline_s:
            time.sleep(0.05)
            found, status = os.waitpid(pid, os.WNOHANG)
        if not found:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130


def _shown(terminal: int, enough: Callable[[str], bool], timeout_s: float = 60.0) -> str:
    """What comes on a terminal until it is enough, or its other end is closed."""
    seen, deadline_s = "", time.monotonic() + timeout_s
    while not enough(seen):
        assert time.monotonic() < deadline_s, seen
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536).decode("utf-8", "replace")
            except OSError:
                break
    return seen


def test_cron_with_hardly_an_environment_gets_a_mail_only_when_there_is_news(
    lab: Lab, cluster: Tashictl
) -> None:
    def cron() -> Result:
        argv = [*cluster.argv, "--cluster", str(cluster.cluster), "sweep"]
        done = subprocess.run(
            argv,
            env={"HOME": str(cluster.home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            cwd="/",
            start_new_session=True,
            check=False,
        )
        return Result(tuple(argv), done.returncode, done.stdout, done.stderr)

    create(cluster, "web1", "h1")
    well = cron()
    assert (well.rc, well.out, well.err) == (0, "", ""), str(well)
    lab.host("h1").run("kill -9 $(cat /run/tashi/*/*/qemu.pid)", check=True)
    mail = cron()
    assert (mail.rc, mail.err) == (PROBLEMS, ""), str(mail)
    assert "vm-exited:web1" in mail.out
    assert "\x1b" not in mail.out


def _begin(path: Path) -> None:
    with path.open("r+b") as handle:
        handle.write(b"\xa5" * 512)


def _all_but_the_begin(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as handle:
        handle.seek(512)
        handle.write(b"\xa5" * (size - 512))


def _text(path: Path) -> None:
    path.write_text("this is no database\n" * 50, encoding="utf-8")


@pytest.mark.parametrize("spoil", [_begin, _all_but_the_begin, _text])
@pytest.mark.parametrize("name", [_STATS, _EVENTS])
def test_a_book_that_is_damaged_is_told_set_aside_and_begun_anew(
    lab: Lab, cluster: Tashictl, name: str, spoil: Callable[[Path], None]
) -> None:
    create(cluster, "web1", "h1")
    sweeping.silent(cluster)
    folder = cluster.cluster / "state"
    spoil(folder / name)
    before = set(folder.glob(f"{name}.damaged*"))
    lab.host("h1").run("kill -9 $(cat /run/tashi/*/*/qemu.pid)", check=True)

    done = sweep(cluster, rc=PROBLEMS)

    assert "vm-exited:web1" in done.out
    assert states(cluster) == {"web1": "Exited"}
    aside = set(folder.glob(f"{name}.damaged*")) - before
    assert [path.name.count("-journal") for path in aside] == [0], aside
    assert "damaged" in done.out + done.err, str(done)
    assert "vm-exited:web1" in cluster.run("event", "list", "--problems").out
    cluster.run("vm", "start", "web1")
    sweep(cluster)
    sweeping.silent(cluster)
    assert sweeping.samples(cluster, "host:h1", "load1")


@pytest.mark.parametrize("name", [_STATS, "all"])
def test_a_disk_of_this_machine_that_is_full_is_told_and_costs_no_state(
    lab: Lab, cluster: Tashictl, tmp_path: Path, name: str
) -> None:
    """In a mount namespace of its own: for the history alone, or for the whole state folder."""
    create(cluster, "web1", "h1")
    sweeping.silent(cluster)
    lab.host("h1").run("kill -9 $(cat /run/tashi/*/*/qemu.pid)", check=True)
    state, small = cluster.cluster / "state", tmp_path / "small"
    small.mkdir()
    size = "64k" if name == _STATS else "4m"
    lines = [f"mount -t tmpfs -o size={size} tmpfs {small}"]
    if name == _STATS:
        lines += [f": >{small}/{name}", f"head -c 64k /dev/zero >{small}/filler || true"]
        lines += [f"mount --bind {small}/{name} {state}/{name}"]
    else:
        lines += [f"cp -a {state}/. {small}/", f"cat /dev/zero >{small}/filler || true"]
        lines += [f"mount --bind {small} {state}"]
    lines += [f"{shlex.join(cluster.argv)} sweep -o json; echo rc $?"]
    if name == "all":
        lines += [f"rm {small}/filler; {shlex.join(cluster.argv)} sweep -o json; echo rc $?"]
    script = "\n".join(["exec 2>&1", *lines])
    env = {"HOME": str(cluster.home), "TASHICTL_CLUSTER": str(cluster.cluster)}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-uc", script],
        env={**env, "PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    said = done.stdout
    assert "Traceback" not in said, said
    assert "E-BUG" not in said, said
    codes = [line for line in said.splitlines() if line.startswith("rc ")]
    if name == _STATS:
        assert codes == ["rc 4"], said
        assert "history" in [one["id"] for one in json.loads(said.split("\nrc ")[0])["problems"]]
        assert states(cluster) == {"web1": "Exited"}
    else:
        assert codes == ["rc 1", "rc 4"], said
        assert "o space" in said
        assert states(cluster) == {"web1": "Running"}  # outside, nothing was written
        sweep(cluster, rc=PROBLEMS)
