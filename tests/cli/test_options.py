import io
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.cli import commands, main, options, text
from tashictl.cli.options import Output
from tests.cli import stage

GIVEN = [
    (("--cluster", "/c"), "cluster", "/c"),
    (("--inventory", "/i"), "inventory", "/i"),
    (("-o", "json"), "output", Output.JSON),
    (("--output=csv",), "output", Output.CSV),
    (("-c", "a,+b"), "columns", "a,+b"),
    (("--no-headers",), "headers", False),
    (("--filter", "a=b"), "filter", "a=b"),
    (("--dry-run",), "dry_run", True),
    (("-y",), "yes", True),
    (("-vv",), "verbose", 2),
    (("--debug",), "debug", True),
    (("--color", "never"), "color", "never"),
]


def heard(*words: str) -> options.Globals:
    """What the verb `vm look X` gets of a command line."""
    got: list[options.Globals] = []
    noun = commands.Noun("vm")

    @noun.reads("look")
    @click.argument("name", required=False)
    @click.pass_obj
    def look(face: options.Globals, name: str | None) -> None:
        got.append(face)

    root = commands.Noun("tashictl")
    root.add_command(noun)
    assert stage.run(root, *words)[0] == 0
    return got[0]


@pytest.mark.parametrize(("words", "name", "value"), GIVEN)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_every_global_option_may_stand_anywhere(
    words: tuple[str, ...], name: str, value: object, place: int
) -> None:
    line = ["vm", "look", "web1"]

    face = heard(*line[:place], *words, *line[place:])

    assert getattr(face, name) == value


def test_what_stands_behind_the_verb_wins_and_verbosity_adds_up() -> None:
    face = heard("-o", "json", "-v", "--cluster", "/a", "vm", "look", "-o", "csv", "-v")

    assert (face.output, face.verbose, face.cluster) == (Output.CSV, 2, "/a")


def test_a_verb_gets_only_its_own_parameters() -> None:
    assert heard("vm", "look").for_people


@pytest.mark.parametrize(
    ("line", "json", "debug", "color"),
    [
        ("-o json vm list", True, False, "auto"),
        ("vm list -ojson --debug", True, True, "auto"),
        ("vm list --output=json --color never", True, False, "never"),
        ("vm list -yvo json", True, False, "auto"),
        ("vm list -o json -o table", False, False, "auto"),
        ("host run h1 -- cmd -o json --debug", False, False, "auto"),
        ("vm list --color=always -o", False, False, "always"),
    ],
)
def test_errors_know_their_form_before_anything_is_parsed(
    line: str, json: bool, debug: bool, color: str
) -> None:
    assert options.early(line.split()) == options.Early(json=json, debug=debug, color=color)


@given(st.lists(st.text(max_size=8)))
def test_the_early_scan_takes_any_words(words: list[str]) -> None:
    assert options.early(["--debug", "--", *words]) == options.Early(debug=True)
    words.append("table")  # what an option at their end takes for its value
    assert options.early([*words, "--", "-o", "json"]) == options.early(words)


def test_the_cluster_directory_is_flag_then_environment_then_here_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/dev")
    env = stage.streams(env={"TASHICTL_CLUSTER": "/env"})

    assert options.cluster_dir(stage.face(cluster="/flag", streams=env)) == Path("/flag")
    assert options.cluster_dir(stage.face(streams=env)) == Path("/env")
    assert options.cluster_dir(stage.face()) == Path("/home/dev/.tashi")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "Tashi.cfg").touch()
    assert options.cluster_dir(stage.face()) == Path()
    assert options.inventory_path(stage.face()) == Path("inventory")
    assert options.inventory_path(stage.face(inventory="/x.yaml")) == Path("/x.yaml")


@pytest.mark.parametrize(
    ("color", "env", "tty", "coloured"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {}, True, False),
    ],
)
def test_colour_follows_the_option_then_the_environment_then_the_terminal(
    color: str, env: dict[str, str], tty: bool, coloured: bool
) -> None:
    stream = stage.Terminal() if tty else io.StringIO()

    assert (options.paint_for(stream, color, env) is text.ansi) is coloured


def test_only_a_terminal_has_a_width() -> None:
    assert options.width_of(io.StringIO(), {"COLUMNS": "80"}) is None
    assert options.width_of(stage.Terminal(), {"COLUMNS": "80"}) == 80
    assert options.width_of(stage.Terminal(), {}) is None


def test_no_command_of_ours_has_an_option_that_hides_a_global_one() -> None:
    clashes: list[str] = []

    def walk(command: click.Command, path: str) -> None:
        ctx = click.Context(command, info_name=path)
        shared = {name for option in options.GLOBAL_OPTIONS for name in option.opts}
        clashes.extend(
            f"{path} {name}"
            for param in command.params
            for name in param.opts
            if name in shared | {"-h", "--help"}
        )
        if isinstance(command, click.Group):
            for name in command.list_commands(ctx):
                if found := command.get_command(ctx, name):
                    walk(found, f"{path} {name}")

    walk(main.ROOT, "tashictl")

    assert clashes == []
