import ast
import errno
import importlib.util
import io
import json
import os
from pathlib import Path

import click
import pytest

from tashictl import errors
from tashictl.cli import commands, main, options
from tests.cli import stage

HEAVY = {"paramiko", "fabric", "invoke", "yaml", "jinja2", "tinydb", "rich", "logging", "pathlib"}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.OperationFailed, 1),
        (errors.InvalidRequest, 2),
        (errors.NoSuchTarget, 3),
        (errors.PartialResult, 4),
        (errors.Conflict, 5),
        (errors.Unreachable, 6),
        (errors.NotPermitted, 7),
        (errors.NoCapacity, 8),
        (errors.FaultsFound, 9),
        (errors.Interrupted, 130),
    ],
)
def test_each_error_leaves_with_its_code_and_says_so_when_nothing_was_changed(
    kind: type[errors.TashiError], code: int
) -> None:
    error = kind("E-SOME", "the thing")

    got, out, err = stage.run(stage.root(error), "vm", "create", "a")

    assert (got, out) == (code, "")
    refused = code in {2, 3, 5, 7, 8}
    assert err == "error[E-SOME]: the thing\n" + ("nothing was changed\n" if refused else "")
    assert "nothing" not in stage.run(stage.root(error), "vm", "show", "a")[2]


def test_of_several_problems_the_contract_chooses_the_code() -> None:
    both = errors.Problems([errors.NoCapacity("E-CAP", "full"), errors.Conflict("E-IP", "taken")])

    code, _out, err = stage.run(stage.root(both), "vm", "create", "a")

    assert code == 5
    assert err == "error[E-CAP]: full\nerror[E-IP]: taken\nnothing was changed\n"


def test_a_refusal_that_left_something_does_not_claim_that_nothing_was_changed() -> None:
    error = errors.Conflict("E-IP", "taken", leftovers=["a file on node1"])

    assert "nothing" not in stage.run(stage.root(error), "vm", "create", "a")[2]


def test_the_return_value_of_a_verb_is_the_exit_code() -> None:
    assert stage.run(stage.root(), "vm", "create", "a") == (
        0,
        "a is Running\n",
        "  ✓ qemu      1 cores, 128 MiB\n",
    )
    assert stage.run(stage.root(), "vm", "create", "pending")[0] == 8


@pytest.mark.parametrize(
    ("words", "first", "hint"),
    [
        (("mv",), "'tashictl' has no command 'mv'", "tashictl --help"),
        (("vm", "lst"), "'tashictl vm' has no command 'lst'", "tashictl vm list"),
        (
            ("vm", "create", "a", "--core", "3"),
            "'tashictl vm create' has no option '--core'",
            "--cores   (tashictl vm create --help)",
        ),
        (("vm", "create"), "missing argument 'NAME'", "tashictl vm create --help"),
        (("vm", "-y"), "missing command", "tashictl vm --help"),
        (
            ("vm", "show", "a", "b"),
            "got unexpected extra argument (b)",
            "tashictl vm show --help",
        ),
        (("vm", "list", "-o"), "option '-o' requires an argument", "tashictl vm list --help"),
    ],
)
def test_usage_errors_are_ours_with_the_nearest_word(
    words: tuple[str, ...], first: str, hint: str
) -> None:
    code, out, err = stage.run(stage.root(), *words)

    lines = err.splitlines()
    assert (code, out) == (2, "")
    assert lines[0] == f"error[E-USAGE]: {first}"
    assert f"  try: {hint}" in lines
    assert "Usage" not in err


def test_all_bad_values_of_one_line_are_reported_at_once() -> None:
    code, _out, err = stage.run(
        stage.root(), *("vm", "create", "a", "--cores", "x", "--memory", "y", "-o", "json")
    )

    body = json.loads(err)
    assert code == 2
    assert body["error"] == body["errors"][0]
    assert [e["message"].split(":")[0] for e in body["errors"]] == [
        "invalid value for '--cores'",
        "invalid value for '--memory'",
    ]


def test_an_error_in_json_is_one_line_with_the_keys_of_the_contract() -> None:
    error = errors.OperationFailed(
        "E-QEMU", "no start", cause="\x1b[31m\x9b", hint="h", host="n1", leftovers=["x"]
    )

    code, _out, err = stage.run(stage.root(error), "-o", "json", "vm", "create", "a")

    assert code == 1
    assert json.loads(err) == {
        "error": {
            "code": "E-QEMU",
            "message": "no start",
            "cause": "\x1b[31m\x9b",
            "hint": "h",
            "host": "n1",
            "leftovers": ["x"],
        }
    }
    assert err.count("\n") == 1 and "\x1b" not in err and "\x9b" not in err


def test_undecodable_bytes_of_the_command_line_do_no_harm() -> None:
    for form in ("json", "table"):
        code, _out, err = stage.run(stage.root(), "vm", "show", "\udcff", "-o", form)

        assert code == 3
        assert "\udcff" not in err and "udcff" in err


def test_a_bug_is_one_line_and_a_hint_and_only_debug_shows_the_traceback() -> None:
    bug = KeyError("x")

    code, _out, err = stage.run(stage.root(bug), "vm", "create", "a")
    with_debug = stage.run(stage.root(bug), "vm", "create", "a", "--debug")[2]

    assert code == 1
    assert err.startswith("error[E-BUG]: KeyError: 'x' (cli/stage.py:")
    assert "--debug" in err and err.count("\n") == 2
    assert "Traceback" in with_debug and "E-BUG" in with_debug


@pytest.mark.parametrize(
    ("number", "path", "line"),
    [
        (errno.ENOSPC, "/v/state.json", "/v/state.json: No space left on device"),
        (errno.EACCES, "/v/state.json", "/v/state.json: Permission denied"),
        (errno.ENOSPC, None, "a local file: No space left on device"),
        (errno.ENOTDIR, "/v/x", "/v/x: Not a directory"),
    ],
)
def test_the_local_disk_fails_with_its_path(number: int, path: str | None, line: str) -> None:
    error = OSError(number, os.strerror(number), path)

    code, _out, err = stage.run(stage.root(error), "vm", "create", "a")

    assert code == 1
    assert err.splitlines()[0] == f"error[E-DISK]: {line}"
    assert errno.errorcode[number] in err


def test_a_system_error_without_path_and_disk_is_a_bug() -> None:
    error = ConnectionResetError(errno.ECONNRESET, "reset")

    assert "E-BUG" in stage.run(stage.root(error), "vm", "create", "a")[2]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_leaves_130_and_a_line(error: BaseException) -> None:
    code, _out, err = stage.run(stage.root(error), "vm", "create", "a")

    assert code == 130
    assert err.startswith("error[E-INTERRUPTED]: interrupted\n")


class Closed(io.StringIO):
    """A stdout that nobody reads."""

    def flush(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


class Full(io.StringIO):
    """A stdout on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_closed_stdout_ends_quietly_as_sigpipe_would() -> None:
    on = stage.streams()
    on = options.Streams(stdin=on.stdin, stdout=Closed(), stderr=on.stderr, env={})

    code, _out, err = stage.run(stage.root(), "vm", "list", on=on)

    assert (code, err) == (141, "")


def test_a_broken_pipe_that_is_not_stdout_is_no_quiet_end() -> None:
    code, _out, err = stage.run(stage.root(BrokenPipeError(errno.EPIPE, "x")), "vm", "show", "a")

    assert code == 1 and "E-BUG" in err


def test_a_full_stdout_is_an_error() -> None:
    on = stage.streams()
    on = options.Streams(stdin=on.stdin, stdout=Full(), stderr=on.stderr, env={})

    code, _out, err = stage.run(stage.root(), "vm", "list", on=on)

    assert code == 1
    assert err.startswith("error[E-DISK]: standard output: No space left on device\n")


def test_a_changing_verb_takes_no_filter() -> None:
    code, _out, err = stage.run(stage.root(), "vm", "destroy", "a", "-y", "--filter", "user=x")

    assert code == 2 and "takes no --filter" in err


def test_without_a_verb_the_help_goes_to_stderr_and_the_code_is_2() -> None:
    code, out, err = stage.run(stage.root(), "vm")

    assert (code, out) == (2, "")
    assert "Usage: tashictl vm" in err and "List the VMs." in err


def test_help_and_version_stand_anywhere_on_stdout() -> None:
    code, out, err = stage.run(stage.root(), "vm", "create", "--help")
    assert (code, err) == (0, "")
    assert "--cores" in out and "Global options (tashictl --help)" in out
    assert "  NAME" not in out
    assert stage.run(stage.root(), "vm", "list", "--version")[1].startswith("tashictl ")
    assert "--cluster DIR" in stage.run(stage.root(), "-h")[1]


def test_a_noun_whose_module_is_missing_is_neither_listed_nor_known() -> None:
    lazy = {
        "here": commands.Lazy(module="tests.cli.lazy_noun", summary="Is here."),
        "gone": commands.Lazy(module="tests.cli.no_such_noun", summary="Is not."),
    }
    root = commands.Noun("tashictl", lazy=lazy)

    assert "here" in stage.run(root, "--help")[1]
    assert "gone" not in stage.run(root, "--help")[1]
    assert stage.run(root, "gone")[0] == 2
    assert stage.run(root, "here") == (0, "here\n", "")


def test_an_import_that_fails_inside_a_noun_is_not_taken_for_a_missing_noun() -> None:
    lazy = {"bad": commands.Lazy(module="tests.cli.lazy_broken", summary="Breaks.")}

    code, _out, err = stage.run(commands.Noun("tashictl", lazy=lazy), "bad")

    assert code == 1 and "E-BUG" in err and "no_such_module" in err


def test_help_of_the_real_program_lists_only_what_exists() -> None:
    out = stage.run(main.ROOT, "--help")[1]

    for name, entry in main.NOUNS.items():
        assert (f"\n  {name} " in out) is entry.exists


def test_completion_offers_nouns_without_loading_them(capsys: pytest.CaptureFixture[str]) -> None:
    lazy = {"gone": commands.Lazy(module="tests.cli.lazy_broken", summary="Not loaded.")}
    ctx = click.Context(commands.Noun("tashictl", lazy=lazy))

    items = ctx.command.shell_complete(ctx, "go")

    assert [(i.value, i.help) for i in items] == [("gone", "Not loaded.")]


def test_the_completion_script_is_printed() -> None:
    code, out, _err = stage.run(main.ROOT, "completion", "zsh")

    assert code == 0 and "_TASHICTL_COMPLETE=zsh_complete" in out


def _top_level_imports(name: str) -> set[str]:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    found: set[str] = set()
    for node in ast.parse(Path(spec.origin).read_text()).body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module.startswith("tashictl")
                and importlib.util.find_spec(node.module).submodule_search_locations  # type: ignore[union-attr]
                and importlib.util.find_spec(f"{node.module}.{alias.name}")
            )
    return found


@pytest.mark.parametrize("start", ["main", "output", "listings", "records", "plans", "ask"])
def test_the_face_imports_nothing_heavy(start: str) -> None:
    seen, queue = set(), [f"tashictl.cli.{start}"]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.startswith("tashictl"):
            queue.extend(_top_level_imports(name))

    assert {name.partition(".")[0] for name in seen} & HEAVY == set()
