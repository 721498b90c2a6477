import json

from tashictl.cli import options, plans
from tests.cli import stage

SCRIPT = "set -e\nkill 48812\n\x1b\n"
STEPS = [
    plans.Planned(number=1, name="KillQemu", host="node1", summary="kill 48812", script=SCRIPT),
    plans.Planned(number=2, name="RemoveTap", host="node1", summary="tashi45.0", script=SCRIPT),
    plans.Planned(
        number=3, name="RemoveDhcp", host="dhcp 172.16.0.5", script="omapi", diff="@@ 1 @@\n-a\n+b"
    ),
]


def printed(**values: object) -> str:
    face = stage.face(**values)
    plans.emit_plan(face, "would destroy web3", STEPS)
    return face.streams.stdout.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_plan_is_grouped_by_host() -> None:
    assert printed() == (
        "would destroy web3\n"
        "node1:\n"
        "  1 KillQemu    kill 48812\n"
        "  2 RemoveTap   tashi45.0\n"
        "dhcp 172.16.0.5:\n"
        "  3 RemoveDhcp\n"
        "      @@ 1 @@\n"
        "      -a\n"
        "      +b\n"
        "nothing was changed    (--dry-run --debug prints the scripts)\n"
    )


def test_debug_prints_each_script_once_and_visibly() -> None:
    text = printed(debug=True)

    assert text.count("kill 48812\n      \\x1b\n") == 1
    assert "      omapi\n" in text
    assert text.endswith("nothing was changed\n")


def test_json_holds_the_exact_scripts() -> None:
    steps = json.loads(printed(output=options.Output.JSON))["steps"]

    assert steps[0] == {"host": "node1", "name": "KillQemu", "script": SCRIPT, "diff": None}
    assert steps[2]["diff"] == "@@ 1 @@\n-a\n+b"


def test_the_other_forms_hold_the_steps_too() -> None:
    assert "RemoveTap" in printed(output=options.Output.YAML)
    assert printed(output=options.Output.CSV).startswith("host,name,script,diff\n")
    assert printed(output=options.Output.NAME) == ""


def test_an_empty_plan_still_says_that_nothing_was_changed() -> None:
    face = stage.face()

    plans.emit_plan(face, "nothing to do", [])

    assert face.streams.stdout.getvalue().startswith("nothing to do\nnothing was changed")  # type: ignore[attr-defined]
