from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.adapters.sim import probe as sim
from tashictl.adapters.sim.host import SimHost
from tashictl.adapters.sim.timeline import Timeline
from tashictl.adapters.sim.watch import Watch
from tashictl.model.settings import QemuSettings, Settings, TashictlSettings
from tashictl.model.sighting import ForeignQemu, NetCounters, Sighting
from tashictl.planning import probe, probe_read
from tashictl.planning.probe import Ask
from tests.planning.cases import SETTINGS

GOLDEN = Path(__file__).parent / "golden" / "probe"  # captured on hosts of the lab
NONCE = "00112233aabbccdd"
NOW = datetime(2026, 11, 26, 6, 4, 38, tzinfo=UTC)
ONE = "10c4ed00-0000-4000-8000-000000000041"
TWO = "10c4ed00-0000-4000-8000-000000000042"
THREE = "10c4ed00-0000-4000-8000-000000000043"
DASH = (GOLDEN / "dash.txt").read_bytes()
STUCK = (GOLDEN / "images-stuck.txt").read_bytes()
BUSY = (GOLDEN / "busy.txt").read_bytes()
SYNTHETIC = (GOLDEN / "synthetic-arm64.txt").read_bytes()


def read(out: bytes) -> Sighting:
    """A reading that there must be."""
    seen = probe_read.read(out, NONCE, NOW)
    assert seen is not None
    return seen


# -- captured answers


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_a_captured_answer_is_read(shell: str) -> None:
    seen = read((GOLDEN / f"{shell}.txt").read_bytes())

    assert (seen.at, seen.kernel[:2], len(seen.boot_id)) == ("2026-11-26T06:04:38Z", "6.", 36)
    assert abs(seen.clock_offset_s) < 3
    assert (seen.claim, seen.replica) == (("0123456789ab", 2, 117), (2, 118, "9f3a"))
    assert (seen.bridges, seen.hidden, seen.busy_s) == (("vmbr", "vmbr7"), False, None)
    assert len(seen.fingerprint) == 16
    one, two = seen.vms
    assert (one.uuid, one.alive, one.folder, one.run_folder) == (ONE, True, True, True)
    assert (two.uuid, two.alive, two.folder, two.run_folder) == (TWO, False, True, False)
    assert (one.manifest, one.phase, one.generation) == (None, "running", 3)
    assert two.manifest is not None
    assert (two.manifest["name"], two.generation) == ("web42", 3)
    assert [tap.name for tap in one.taps] == ["tashi41.0", "tashi41.1"]
    assert [tap.name for tap in two.taps] == ["tashi42.0"]
    assert one.disks == two.disks == (("disk0.qcow2", 65536),)
    assert (one.pid or 0) > 0
    assert (one.process_state, one.threads, one.upgraded) == ("S", 2, False)
    assert (one.rss_bytes or 0) % 4096 == 0
    assert (one.io_read_bytes, two.io_read_bytes) == (0, None)
    assert (two.log_end, two.console_end) == (("qemu: bye",), ("login: panic",))
    assert [(q.uuid, q.name) for q in seen.foreign] == [(ONE[:-2] + "07", "web7")]


def test_the_figures_of_a_captured_host_are_read() -> None:
    host = read(DASH).host

    assert host is not None
    assert (host.cores, host.memory_mib, host.huge_page_kib, host.swap_mib) == (2, 24105, 2048, 0)
    assert (host.oom_kills, host.pressure_memory) == (0, 0.0)
    assert host.uptime_s > 10_000
    assert (host.pressure_cpu or 0) > 10
    assert host.cpu_total_ticks > host.cpu_busy_ticks > 1_000_000
    assert [n.name for n in host.nets] == ["mgmt0", "trunk0", "vmbr", "vmbr7"]
    assert [(m.role, m.path) for m in host.mounts] == [
        ("lib", "/var/lib/tashi/0123456789ab"),
        ("images", "/var/lib/tashi/shared/images"),
        ("scratch", "/tmp"),
    ]
    assert host.mounts[0].size_bytes == 4096 * 1048576


def test_neighbours_are_pairs_few_of_each_mac_and_nothing_odd() -> None:
    mac = "52:54:00:01:00:01"
    near = [f"near {mac} 10.9.0.{n}" for n in (7, 5, 6, 9, 8)]
    near += ["near 52:54:00:01:00:02 2001:db8::5", "near x 10.9.0.1", f"near {mac} 10.9", "near"]
    lines = "\n".join([*near, "end", ""]).encode()
    out = DASH.replace(b"\nend\n", b"\n" + lines, 1)

    assert read(DASH).neighbours == ()
    assert read(out).neighbours == (
        *((mac, f"10.9.0.{n}") for n in (5, 6, 7, 8)),
        ("52:54:00:01:00:02", "2001:db8::5"),
    )


def test_a_file_system_that_hangs_is_stuck_since_then() -> None:
    seen = read(STUCK)

    assert seen.host is not None
    lib, images, _ = seen.host.mounts
    assert (lib.stuck_since, lib.size_bytes) == (None, 4096 * 1048576)
    assert (images.stuck_since, images.size_bytes) == ("2026-11-26T06:04:39Z", None)
    assert seen.fingerprint == ""
    assert len(seen.vms) == 2


def test_a_busy_host_says_nothing_else() -> None:
    assert read(BUSY) == Sighting(at="2026-11-26T06:04:38Z", busy_s=6)


# -- a hand-made one of another kind of host


def test_another_kind_of_host_is_read() -> None:
    seen = read(SYNTHETIC)
    one, two, three = seen.vms

    assert (seen.hidden, seen.claim, seen.replica) == (True, None, None)
    assert one.rss_bytes == 1000 * 65536
    assert (one.process_state, one.cpu_ticks, one.vsize_bytes) == ("D", 123456, 9_000_000_000)
    assert (one.io_read_bytes, one.upgraded) == (None, True)
    assert one.manifest == {"id": 41, "generation": 7}
    assert one.disks == (("disk10.qcow2", 1 << 20), ("disk2.qcow2", 4096))
    assert (two.exit_status, two.oom, two.log_end, two.console_end) == (
        "KILL",
        True,
        ("one", "two"),
        (),
    )
    assert (three.alive, three.pid, three.folder) == (True, None, False)
    assert seen.foreign == (ForeignQemu(pid=99, starttime=77, uuid=None, name="a"),)
    host = seen.host
    assert host is not None
    assert (host.cpu_busy_ticks, host.cpu_total_ticks) == (139, 3179)
    assert (host.huge_pages_total, host.huge_pages_free, host.huge_page_kib) == (512, 128, 524288)
    assert (host.swap_mib, host.swap_free_mib) == (8192, 4096)
    assert (host.pressure_cpu, host.pressure_io, host.oom_kills) == (None, None, None)
    assert (host.load_1, host.load_5, host.load_15) == (0.1, 0.2, 0.3)
    assert host.nets == (
        NetCounters(
            name="enP2p1s0f0",
            rx_bytes=18446744073709551,
            rx_packets=4294967296,
            rx_errors=1,
            rx_dropped=2,
            tx_bytes=3,
            tx_packets=4,
            tx_errors=5,
            tx_dropped=6,
        ),
    )
    sizes = [(m.path, m.size_bytes, m.free_bytes) for m in host.mounts]
    assert sizes == [
        ("/var/lib/tashi/0123456789ab", 65536000, 16384000),
        ("/srv/shared folder/images", None, None),
        ("/scratch", 8192000, 2048000),
    ]


# -- the reader holds


@pytest.mark.parametrize("answer", [DASH, STUCK, BUSY, SYNTHETIC])
def test_cut_anywhere_it_is_none_or_the_same(answer: bytes) -> None:
    whole = read(answer)
    for length in range(len(answer)):
        assert probe_read.read(answer[:length], NONCE, NOW) in (None, whole)


def test_without_the_end_of_its_main_part_an_answer_is_none() -> None:
    assert probe_read.read(DASH.replace(b"\nend\n", b"\n"), NONCE, NOW) is None
    assert probe_read.read(DASH, "ffeeddccbbaa9988", NOW) is None
    assert probe_read.read(f"\n@{NONCE} Z\n".encode(), NONCE, NOW) is None


@given(out=st.binary(max_size=200))
def test_no_noise_breaks_the_reader(out: bytes) -> None:
    probe_read.read(
        b"\n@%s B look\n%s\nend\n\n@%s Z\n" % (*[NONCE.encode(), out], NONCE.encode()), NONCE, NOW
    )


@given(
    answer=st.sampled_from([DASH, STUCK, SYNTHETIC]),
    data=st.data(),
    put=st.one_of(st.binary(max_size=30), st.sampled_from([b"9" * 5000, b"\n", b" ", b"{" * 3000])),
)
def test_a_mangled_answer_never_raises_and_can_be_kept(
    answer: bytes, data: st.DataObject, put: bytes
) -> None:
    place = data.draw(st.integers(0, len(answer)))
    end = data.draw(st.integers(place, min(place + 40, len(answer))))
    seen = probe_read.read(answer[:place] + put + answer[end:], NONCE, NOW)
    if seen is not None:
        assert msgspec.json.decode(msgspec.json.encode(seen), type=Sighting) == seen


# -- the question


def test_nothing_of_the_settings_reaches_the_shell_unquoted() -> None:
    nasty = "/a b'$(reboot)"
    settings = Settings(
        tashictl=TashictlSettings(cluster_id="c", lib_dir=nasty, run_dir=nasty),
        vfs_prefix=nasty,
        qemu=QemuSettings(qemu_bin=nasty, scratch_dir=nasty),
    )
    text = probe.script(Ask(settings=settings, known=(nasty,), running=(nasty,)), NONCE).text

    assert text.count("reboot") == text.count("""/a b'"'"'$(reboot)""") == 7


def test_it_changes_nothing_and_says_so() -> None:
    asked = probe.script(Ask(settings=SETTINGS), NONCE)

    assert (asked.changing, asked.fence, asked.steps) == (False, None, ())
    assert "\nWRITE=1\n" in asked.text
    assert "\nWRITE=0\n" in probe.script(Ask(settings=SETTINGS, mounts=False), NONCE).text


# -- the simulated host answers in the same form


def sim_host() -> tuple[SimHost, Timeline]:
    """A host with one VM that runs, one that has ended, and a QEMU that is not ours."""
    timeline = Timeline(7)
    host = SimHost("node1", timeline, Watch())
    for number, uuid in ((41, ONE), (42, TWO)):
        lib, run = f"/var/lib/tashi/0123456789ab/{uuid}", f"/run/tashi/0123456789ab/{uuid}"
        host.folders |= {lib, run}
        host.write(f"{run}/run.lock", "")
        text = f'{{"id":{number},"uuid":"{uuid}","generation":3,"phase":"running",'
        text += f'"spec":{{"nics":[{{"mac":"52:54:00:00:00:{number}"}}]}}}}'
        host.write(f"{lib}/manifest.json", text)
        host.write(f"{lib}/disk0.qcow2", "overlay")
        host.write(f"{lib}/console.log", "bye")
        host.taps[f"tashi{number}.0"] = "ifup"
    host.spawn(ONE, host.files[f"/run/tashi/0123456789ab/{ONE}/run.lock"])
    host.spawn(THREE, None).foreign = True
    host.write("/var/lib/tashi/cluster", "0123456789ab 1 9 host me")
    host.oom.add(TWO)
    return host, timeline


def ask_sim(host: SimHost) -> Sighting:
    asked = Ask(settings=SETTINGS, known=(ONE,), running=(ONE, TWO))
    seen = probe_read.read(sim.answer(host, probe.script(asked, NONCE)), NONCE, host.timeline.now())
    assert seen is not None
    return seen


def test_a_simulated_host_is_seen_like_a_real_one() -> None:
    host, _ = sim_host()
    host.neighbours = {"10.9.0.5": "52:54:00:00:00:41", "10.9.0.6": "02:00:00:00:00:99"}
    seen = ask_sim(host)
    one, two = seen.vms

    assert (one.alive, one.pid, one.starttime, one.manifest) == (True, 1000, 100000, None)
    assert (one.phase, one.generation, [t.name for t in one.taps]) == ("running", 3, ["tashi41.0"])
    assert (two.alive, two.oom, two.console_end) == (False, True, ("bye",))
    assert two.manifest is not None
    assert [(q.pid, q.uuid) for q in seen.foreign] == [(1001, THREE)]
    assert (seen.claim, seen.clock_offset_s) == (("0123456789ab", 1, 9), 0.0)
    assert seen.neighbours == (("52:54:00:00:00:41", "10.9.0.5"),)
    assert seen.host is not None
    assert seen.host.memory_available_mib == 3072


def test_its_counters_rise_and_begin_anew_when_it_is_booted() -> None:
    host, timeline = sim_host()
    first = ask_sim(host)
    timeline.sleep(60)
    second = ask_sim(host)
    host.restart("/run/tashi")
    third = ask_sim(host)

    assert (second.vms[0].cpu_ticks or 0) > (first.vms[0].cpu_ticks or 0)
    assert second.vms[0].taps[0].rx_bytes > first.vms[0].taps[0].rx_bytes
    ticks = [s.host.cpu_total_ticks for s in (first, second, third) if s.host]
    assert ticks[2] < ticks[0] * 2 < ticks[1] * 2
    assert third.boot_id != first.boot_id
    assert [vm.alive for vm in third.vms] == [False, False]


def test_its_file_systems_can_hang() -> None:
    host, _ = sim_host()
    host.stuck = {"lib": 1772366000}
    seen = ask_sim(host)

    assert seen.host is not None
    assert seen.host.mounts[0].stuck_since == "2026-03-01T11:53:20Z"
    one = seen.vms[0]
    assert replace(one, taps=()) == one
    assert (one.alive, one.phase, one.disks, seen.claim) == (True, "", (), None)
