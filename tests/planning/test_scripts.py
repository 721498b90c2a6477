import re
import shlex
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.errors import OperationFailed
from tashictl.model import steps as model
from tashictl.model.steps import (
    AddDhcp,
    AddDns,
    AwaitQmp,
    Batch,
    PressPowerButton,
    PutImage,
    PutReplica,
    PutSeed,
    QmpCommand,
    RemoveDhcp,
    RemoveDns,
    Step,
    WriteManifest,
)
from tashictl.planning import scripts, shell
from tests.planning import script_cases as cases

# No NUL: neither an argument nor a shell variable can hold one; JSON text and settings have none.
_OWN = {AwaitQmp, PressPowerButton, PutImage, PutReplica, PutSeed, QmpCommand}
_OWN |= {AddDhcp, AddDns, RemoveDhcp, RemoveDns}  # at the servers of names
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize("name", cases.texts())
def test_the_text_of_each_step_is_the_golden_one(name: str) -> None:
    golden = (cases.GOLDEN / f"{name}.sh").read_text(encoding="utf-8")

    assert cases.texts()[name] == golden


def test_there_is_no_golden_file_without_a_case() -> None:
    assert {p.stem for p in cases.GOLDEN.glob("*.sh")} == set(cases.texts())


def test_every_kind_of_step_has_a_text_or_is_the_controllers_own() -> None:
    kinds: set[type] = set(get_args(model.Step))

    assert {k for k in kinds if not k.scripted} == _OWN  # type: ignore[attr-defined]
    assert {type(s) for s in cases.STEPS.values()} == kinds - _OWN


@pytest.mark.parametrize(
    "step",
    [
        AwaitQmp(**cases.AT, socket="/run/qmp.sock"),
        PutImage(**cases.HOST, path="/a.part", size_bytes=1, sha256="0"),
        QmpCommand(**cases.AT, socket="/run/qmp.sock", command="stop"),
        PressPowerButton(**cases.AT, socket="/run/qmp.sock", timeout_s=1),
        PutReplica(**cases.HOST, path="/a.part", size_bytes=1, sha256="0"),
        PutSeed(**cases.AT, path="/seed.iso.part", size_bytes=1, sha256="0"),
    ],
)
def test_a_step_of_the_controllers_own_has_no_script(step: Step) -> None:
    with pytest.raises(OperationFailed):
        scripts.body(step)


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS)
def test_a_script_carries_what_it_was_made_from(step: Step) -> None:
    batch = Batch(host="node1", indexes=(7,), steps=(step,))

    script = scripts.changing(batch, cases.a_fence(step.uuid), cases.NONCE, 130)

    assert script.changing
    assert (script.steps, script.fence) == ((step,), cases.a_fence(step.uuid))
    assert (script.nonce, script.timeout_s) == (cases.NONCE, 130)
    assert f"begin 7 {step.name}\n" in script.text
    assert f"ended 7 {step.name}\n" in script.text


def test_the_fence_comes_before_every_step() -> None:
    text = cases.whole()

    last_refusal = text.rindex("refuse folder")
    assert last_refusal < text.index("\nbegin 4 KillQemu")
    assert text.index("ended 4 KillQemu") < text.index("begin 5 RemoveTap")
    assert text.rstrip().endswith("say Z; exit 0\n} </dev/null")


def test_a_script_for_a_host_looks_for_no_manifest() -> None:
    assert "refuse manifest" in cases.texts()["fence-vm"]
    assert "refuse manifest" not in cases.texts()["fence-host"]


@given(texts)
@example("$(reboot)")
@example('a\'b\n"c" `d` \\')
def test_no_value_of_a_fence_is_understood_by_the_shell(text: str) -> None:
    (line,) = shlex.split(shell.assign(WHO=text))

    assert line == f"WHO={text}"


@given(texts, texts)
@example("$(reboot)", "';reboot;'")
def test_no_controller_or_folder_is_understood_by_the_shell(who: str, folder: str) -> None:
    fence = replace(cases.a_fence(), controller=who, lib_dir=folder)

    text = shell.fenced(fence, cases.NONCE, folder, folder)

    begin = text.index("N=")
    assigned = dict(w.split("=", 1) for w in shlex.split(text[begin : text.index("\nis_ours")]))
    assert (assigned["WHO"], assigned["L"], assigned["D"], assigned["R"]) == (
        who,
        folder,
        folder,
        folder,
    )
    assert assigned["NOT_AFTER"] == "1772366460"


@given(texts)
@example("it's $(here)\n")
def test_a_manifest_comes_through_as_it_is(text: str) -> None:
    body = scripts.body(WriteManifest(**cases.AT, phase="creating", manifest=text))

    assert shlex.split(body)[-1] == text


@given(st.lists(texts, min_size=1, max_size=6))
@example(["-name", "guest=a,b;c $(reboot) 'x'", "", "{}", "\n"])
@example(["x\nEND\nreboot\nEND.\nx"])
def test_every_argument_of_qemu_comes_through_as_it_is(argv: list[str]) -> None:
    step = replace(cases.STEPS["start-qemu"], argv=tuple(argv))

    start = re.search(r"^cat >\"\$R/launch\" <<'(END\.*)' .*?\n", scripts.body(step), re.M)

    assert start is not None
    # As the shell reads it: up to the first line that is the mark.
    launch, _, _ = scripts.body(step)[start.end() :].partition(f"\n{start.group(1)}\n")
    _, _, words = launch.partition('\nexec $AS "$QEMU" ')
    assert shlex.split(words) == argv


@given(texts.filter(lambda t: t.strip()))
@example("/a b/$(reboot)'.img")
def test_every_path_of_an_overlay_comes_through_as_it_is(path: str) -> None:
    step = replace(cases.STEPS["create-overlay"], path=path, base=path)

    (line,) = re.findall(r"^qemu-img create .*? \\$", scripts.body(step), re.M | re.S)

    words = shlex.split(line.removesuffix("\\"))
    assert words[words.index("-b") + 1] == path
    assert words[words.index("-b") + 2] == f"{path}.part"


@given(texts, texts)
@example("/etc/$(reboot)", "#!/bin/sh\n'\n")
def test_an_ifup_script_comes_through_as_it_is(path: str, content: str) -> None:
    step = replace(cases.STEPS["write-ifup"], path=path, content=content)

    assert shlex.split(scripts.body(step))[-3:] == [path, "755", content.rstrip()]


def test_a_probe_is_read_only_and_takes_no_lock() -> None:
    text = shell.read_only(cases.NONCE, "\nsay B x\n", A="it's")

    assert "A='it'\"'\"'s'" in text
    assert "flock" not in text
