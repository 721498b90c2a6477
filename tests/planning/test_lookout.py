from tashictl.planning import lookout
from tests.planning.cases import SETTINGS
from tests.planning.seed_cases import nic, vm

NONCE = "00112233aabbccdd"
NEIGHBOURS = """\
fe80::5054:ff:feab:cde0 dev vmbr lladdr 52:54:00:ab:cd:e0 STALE
fd00::7 dev vmbr lladdr 52:54:00:ab:cd:e0 REACHABLE
10.88.1.11 dev vmbr lladdr 52:54:00:ab:cd:e0 REACHABLE
10.88.1.12 dev vmbr lladdr 52:54:00:ff:ff:ff REACHABLE
10.88.1.13 dev vmbr FAILED
10.88.1.14 dev vmbr lladdr 52:54:00:ab:cd:e0 FAILED
10.88.1.15 dev vmbr lladdr
"""


def framed(**parts: str) -> bytes:
    said = "".join(f"\n@{NONCE} B {name}\n{text}" for name, text in parts.items())
    return f"noise of a login{said}\n@{NONCE} Z\n".encode()


def test_an_answer_is_read() -> None:
    out = framed(alive="1\n", neighbours=NEIGHBOURS, console="a\n\nb\r\n\x1b[31mlogin:\x1b[0m \n")

    look = lookout.read(out, NONCE, vm(nic(0, 1)))

    assert look == lookout.Look(
        alive=True, addresses=("10.88.1.11", "fd00::7"), console=("a", "b", "login:")
    )


def test_an_answer_that_is_cut_short_says_nothing() -> None:
    assert lookout.read(framed(alive="1\n")[:-4], NONCE, vm(nic(0, 1))) is None


def test_a_host_without_anything_to_say() -> None:
    look = lookout.read(framed(alive="0\n", neighbours="", console=""), NONCE, vm())

    assert look == lookout.Look(alive=False)


def test_the_end_of_a_console_is_short_and_plain() -> None:
    lines = lookout.console_end("\n".join(f"{n} \x07\x9b\u202e" + "x" * 500 for n in range(9)))

    assert [line[:2] for line in lines] == ["6 ", "7 ", "8 "]
    assert all(len(line) <= 160 and line.isprintable() for line in lines)


def test_the_script_changes_nothing() -> None:
    script = lookout.script(vm(nic(0, 1)), SETTINGS, NONCE)

    assert not script.changing and script.fence is None
    assert "mkdir" not in script.text and ">>" not in script.text
