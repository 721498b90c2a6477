"""A QEMU's command line: what is read of it, in each of the ways in which it can be said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning.adopt_argv import Given, GivenDisk, GivenNic, properties, read

UUID = "7c1e0000-0000-4000-8000-000000000001"


def of(*words: str) -> Given:
    return read(("/usr/bin/qemu-system-x86_64", *words))


def test_a_whole_command_line_is_read() -> None:
    found = of(
        *("-nodefaults", "-enable-kvm", "-name", "guest=web7,debug-threads=on", "-uuid", UUID),
        *("-m", "2G", "-smp", "4,sockets=1", "-qmp", "unix:/run/a,,b,server,nowait"),
        *("-drive", "file=/srv/a,,b.qcow2,if=virtio", "-netdev", "tap,id=n0,ifname=tap3,script=no"),
        *("-device", "virtio-net-pci,netdev=n0,mac=52:54:00:AB:00:01"),
    )

    assert found == Given(
        uuid=UUID,
        uuid_option="-uuid",
        name="web7",
        memory_mib=2048,
        cores=4,
        qmp="/run/a,b",
        disks=(GivenDisk(file="/srv/a,b.qcow2"),),
        nics=(GivenNic(mac="52:54:00:ab:00:01", tap="tap3"),),
        arch="x86_64",
    )


def test_nothing_said_is_what_qemu_takes_for_it() -> None:
    assert of() == Given(arch="x86_64")
    assert read(("/usr/libexec/qemu-kvm",)) == read(()) == Given()


def test_the_last_one_counts_and_how_it_was_written_is_kept() -> None:
    found = of("-uuid", "a", "--uuid", "b", "-name", "x", "-name", "debug-threads=on")
    assert (found.uuid, found.uuid_option, found.name) == ("b", "--uuid", "x")


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("512", 512),
        ("2G", 2048),
        ("1.5g", 1536),
        ("size=1T,slots=2,maxmem=4T", 1 << 20),
        ("65536k", 64),
        ("1b", 1),
        ("slots=2", 128),
        ("lots", 128),
        ("0", 128),
    ],
)
def test_memory_is_read_in_whole_mib(text: str, mib: int) -> None:
    assert of("-m", text).memory_mib == mib


@pytest.mark.parametrize(
    ("words", "cores"),
    [
        (("4",), 4),
        (("cpus=3,maxcpus=8",), 3),
        (("sockets=2,cores=3,threads=2",), 12),
        (("0",), 1),
        (("x",), 1),
        (("2", "maxcpus=8"), 2),
    ],
)
def test_cores_are_read(words: tuple[str, ...], cores: int) -> None:
    assert of(*(w for word in words for w in ("-smp", word))).cores == cores


@pytest.mark.parametrize(
    "words",
    [
        ("-qmp", "unix:/q,server=on,wait=off"),
        ("--qmp", "unix:/q,server,nowait"),
        ("-qmp-pretty", "unix:/q,server=yes"),
        ("-chardev", "socket,id=c,path=/q,server=on", "-mon", "chardev=c,mode=control"),
        ("-mon", "c,mode=control", "-chardev", "socket,path=/q,server=on,wait=off,id=c"),
        ("-chardev", "socket,id=c,path=/q,server=on", "-qmp", "chardev:c"),
        ("-qmp", "stdio", "-qmp", "unix:/q,server=on"),
    ],
)
def test_the_socket_of_qmp_is_found(words: tuple[str, ...]) -> None:
    assert (of(*words).qmp, of(*words).asked) == ("/q", ())


@pytest.mark.parametrize(
    "words",
    [
        ("-qmp", "stdio"),
        ("-qmp", "tcp:127.0.0.1:4444,server=on"),
        ("-qmp", "unix:/q"),
        ("-qmp", "unix:/q,server=on,abstract=on"),
        ("-qmp", "unix:,server=on"),
        ("-qmp", "/q,server=on"),
        ("-chardev", "socket,id=c,fd=3,server=on", "-mon", "chardev=c,mode=control"),
        ("-chardev", "socket,id=c,path=/q,server=off", "-mon", "chardev=c,mode=control"),
        ("-chardev", "pipe,id=c,path=/q", "-mon", "chardev=c,mode=control"),
    ],
)
def test_what_is_no_socket_of_its_own_is_told(words: tuple[str, ...]) -> None:
    found = of(*words)
    assert found.qmp is None
    assert found.asked == (" ".join(words[-2:]),)


@pytest.mark.parametrize(
    "words",
    [
        ("-monitor", "unix:/q,server=on"),
        ("-chardev", "socket,id=c,path=/q,server=on", "-mon", "chardev=c"),
        ("-chardev", "socket,id=c,path=/q,server=on", "-serial", "chardev:c"),
        ("-name", "-qmp"),
    ],
)
def test_a_human_monitor_is_none(words: tuple[str, ...]) -> None:
    assert (of(*words).qmp, of(*words).asked) == (None, ())


BLOCKDEV = '{"driver":"qcow2","node-name":"d","file":{"driver":"file","filename":"/a,b"}}'


@pytest.mark.parametrize(
    ("words", "disks"),
    [
        (("-hda", "/a,b", "-hdb", "/c"), [("/a,b", None), ("/c", None)]),
        (("/a.img",), [("/a.img", None)]),
        (("-nographic", "/a.img", "-S"), [("/a.img", None)]),
        (("-drive", "file=/a,format=raw,if=none,id=d"), [("/a", "raw")]),
        (("-drive", "driver=qcow2,file.driver=file,file.filename=/a"), [("/a", "qcow2")]),
        (("-drive", "file=/a,media=cdrom"), []),
        (("-drive", "if=pflash,file=/a"), []),
        (("-drive", "if=none,id=c,file=/a", "-device", "ide-cd,drive=c"), []),
        (("-cdrom", "/a.iso", "-fda", "/b"), []),
        (("-blockdev", BLOCKDEV), [("/a,b", "qcow2")]),
        (("-blockdev", "qcow2,node-name=d,file.filename=/a"), [("/a", None)]),
        (("-blockdev", "driver=qcow2,node-name=d,file.filename=/a"), [("/a", "qcow2")]),
        (
            (
                *("-blockdev", "driver=file,filename=/a,node-name=f"),
                *("-blockdev", "driver=qcow2,node-name=d,file=f,backing=b"),
                *("-blockdev", "driver=qcow2,node-name=b,file=bf"),
                *("-blockdev", "driver=file,filename=/base,node-name=bf"),
            ),
            [("/a", "qcow2")],
        ),
        (
            (
                *("-machine", "q35,pflash0=p"),
                *("-blockdev", "driver=file,filename=/code.fd,node-name=p"),
                *("-blockdev", "driver=host_device,filename=/dev/sdb,node-name=d"),
            ),
            [("/dev/sdb", "raw")],
        ),
    ],
)
def test_disks_are_found(words: tuple[str, ...], disks: list[tuple[str, str | None]]) -> None:
    assert [(d.file, d.format) for d in of(*words).disks] == disks


@pytest.mark.parametrize(
    ("words", "nics"),
    [
        (
            ("-nic", "tap,ifname=t0,mac=52:54:00:00:00:01,model=virtio"),
            [GivenNic(mac="52:54:00:00:00:01", tap="t0")],
        ),
        (("-nic", "bridge,br=br7"), [GivenNic(mac="52:54:00:12:34:56", bridge="br7")]),
        (
            ("-netdev", "bridge,id=n", "-device", "e1000,netdev=n"),
            [GivenNic(mac="52:54:00:12:34:56", bridge="br0")],
        ),
        (
            ("-nic", "user,hostfwd=tcp::80-:80,hostfwd=tcp:127.0.0.1:2222-:22"),
            [GivenNic(mac="52:54:00:12:34:56", user=True, ssh_port=2222)],
        ),
        (
            ("-net", "nic,macaddr=52:54:00:00:00:02", "-net", "tap,ifname=t1"),
            [GivenNic(mac="52:54:00:00:00:02", tap="t1")],
        ),
        (
            (
                *("-netdev", '{"type":"tap","id":"n","ifname":"t2"}'),
                *("-device", '{"driver":"virtio-net-pci","netdev":"n"}', "-nic", "user"),
            ),
            [
                GivenNic(mac="52:54:00:12:34:56", tap="t2"),
                GivenNic(mac="52:54:00:12:34:57", user=True),
            ],
        ),
        (("-nic", "none", "-net", "none", "-device", "virtio-blk-pci,drive=d"), []),
        (("-device", "e1000,netdev=gone"), [GivenNic(mac="52:54:00:12:34:56")]),
    ],
)
def test_interfaces_are_found(words: tuple[str, ...], nics: list[GivenNic]) -> None:
    assert list(of(*words).nics) == nics


# fmt: off
OPTIONS = st.sampled_from([
    "-uuid", "--uuid", "-name", "-m", "-smp", "-qmp", "-mon", "-chardev", "-drive", "-blockdev",
    "-hda", "-netdev", "-device", "-nic", "-net", "-machine", "-S", "-", "--",
])
# fmt: on
TEXTS = st.text(max_size=30) | st.text("{}\"',:=server/unix[]0", max_size=30)


@given(st.lists(OPTIONS | TEXTS))
def test_whatever_stands_there_is_read_without_an_error(words: list[str]) -> None:
    found = read(words)
    assert found.memory_mib >= 1
    assert found.cores >= 1
    assert all(d.file for d in found.disks if d.format)


@given(st.dictionaries(st.text("abc.-", min_size=1, max_size=5), st.text(max_size=20)))
def test_what_is_written_as_properties_is_read_as_it(values: dict[str, str]) -> None:
    values = {k: v.replace("\0", "") for k, v in values.items()}
    text = ",".join(f"{k}={v.replace(',', ',,')}" for k, v in values.items())
    clean = [v for v in values.values() if v.startswith(",") or v.endswith(",")]
    if not clean and not text.startswith("{"):
        assert properties(text) == values
