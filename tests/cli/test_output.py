import csv
import io
import json

import pytest
import yaml

from tashictl.cli import listings, options, output, tables
from tashictl.model.vm import Observed, Seen, Vm
from tests.cli import stage

TABLE = """\
 ID  NAME   STATE       HOST   USER  CORES   MEMORY  ADDRESS        IMAGE
 41  web41  Running     node1  dev       2    2 GiB  172.16.192.41  debian-12
 42  web42  Activating  node1  dev       2    2 GiB  172.16.192.42  debian-12
 43  web7   Pending     –      dev       8  640 MiB  –              –
 44  db1    Orphaned    node4  dev       4    8 GiB  –              pg-16:persistent    · last seen 14:02
"""  # noqa: E501


def listed(*words: str) -> str:
    code, out, err = stage.run(stage.root(), "vm", "list", *words)
    assert (code, err) == (0, "")
    return out


def test_the_table_is_as_it_was_drawn() -> None:
    assert listed() == TABLE
    assert listed("--no-headers", "-c", "name,host", "--filter", "id<=42") == (
        " web41  node1\n web42  node1\n"
    )


def test_a_vm_that_ended_says_why() -> None:
    ended = stage.vm(
        45, observed=Observed(what=Seen.STOPPED, at="2026-11-22T14:59:50Z"), reason="its QEMU ended"
    )

    assert listings.vm_table(stage.SCENE).note(ended) == "its QEMU ended"  # type: ignore[misc]


def test_colour_changes_no_character() -> None:
    painted = listed("--color", "always")

    assert "\x1b[32mRunning\x1b[0m     node1" in painted
    assert "\x1b[33mPending\x1b[0m" in painted
    assert "\x1b[31mOrphaned\x1b[0m" in painted
    assert "\x1b[2m–\x1b[0m" in painted
    assert "\x1b[2m· last seen 14:02\x1b[0m\n" in painted
    bare = painted
    for code in ("32", "33", "31", "2", "0"):
        bare = bare.replace(f"\x1b[{code}m", "")
    assert bare == TABLE


@pytest.mark.parametrize("width", [2, 5, 20, 47, 60, 72, 80, 90, 100])
def test_nothing_wraps_on_a_terminal(width: int) -> None:
    on = stage.streams(tty=True, env={"COLUMNS": str(width), "NO_COLOR": "1"})

    _code, out, _err = stage.run(stage.root(), "vm", "list", on=on)

    assert max(map(len, out.splitlines())) <= width
    assert len(out.splitlines()) == 5
    if 5 < width < 90:
        assert "…" in out


def test_wide_characters_and_escapes_keep_the_columns_straight() -> None:
    rows = [stage.vm(1, name="日本"), stage.vm(2, user="\x1b[31m"), stage.vm(3)]
    table = listings.vm_table(stage.SCENE)
    columns = tables.choose(table, "name,user,host", [tables.Shown.ALWAYS])

    drawn = tables.render(table, columns, rows, tables.Style())

    assert drawn == (
        " NAME  USER      HOST\n"
        " 日本  dev       node1\n"
        " web2  \\x1b[31m  node1\n"
        " web3  dev       node1\n"
    )


def test_columns_are_chosen_added_and_taken_from_the_record() -> None:
    assert listed("-c", "name,host", "--filter", "id=41") == " NAME   HOST\n web41  node1\n"
    assert listed("-c", "+uuid", "--filter", "id=41").splitlines()[0].endswith("IMAGE      UUID")
    assert listed("-c", "name,hints.rack", "--filter", "id=44").startswith(
        " NAME  HINTS.RACK\n db1   r1"
    )
    assert listed("-c", "id,+id,+NAME", "--no-headers", "--filter", "id=41") == " 41  web41\n"


def test_the_help_of_columns_names_every_key() -> None:
    text = listed("-c", "help")

    assert "address  ADDRESS" in text and "observed.boot_id" in text


def test_unknown_columns_are_refused_with_the_nearest() -> None:
    code, _out, err = stage.run(stage.root(), "vm", "list", "-c", "naem,+q")

    assert code == 2
    assert "no column 'naem'" in err and "try: name" in err and "no column 'q'" in err


def test_json_is_whole_and_sorted_by_id() -> None:
    data = json.loads(listed("-o", "json"))

    assert [r["id"] for r in data] == [41, 42, 43, 44]
    assert json.loads(listed("-o", "json", "-c", "name,address,memory", "--filter", "id=41")) == [
        {"name": "web41", "address": ["172.16.192.41"], "memory": 2048}
    ]


def test_yaml_says_the_same_as_json() -> None:
    assert yaml.safe_load(listed("-o", "yaml")) == json.loads(listed("-o", "json"))


def test_csv_has_the_keys_of_the_record_and_json_in_nested_fields() -> None:
    rows = list(csv.DictReader(io.StringIO(listed("-o", "csv"))))

    assert list(rows[0]) == list(json.loads(listed("-o", "json"))[0])
    assert rows[2]["host"] == ""
    assert json.loads(rows[0]["observed"])["what"] == "running"
    assert (
        listed("-o", "csv", "-c", "name,cores", "--no-headers", "--filter", "id=41") == "web41,2\n"
    )


def test_names_come_one_a_line() -> None:
    assert listed("-o", "name") == "web41\nweb42\nweb7\ndb1\n"


def emitted(face: options.Globals, rows: list[Vm]) -> tuple[str, str]:
    output.emit_list(face, rows, listings.vm_table(stage.SCENE))
    streams = face.streams
    return streams.stdout.getvalue(), streams.stderr.getvalue()  # type: ignore[attr-defined]


def test_an_empty_list_is_a_note_and_in_json_a_list() -> None:
    assert emitted(stage.face(), []) == ("", "· no VMs\n")
    assert emitted(stage.face(filter="id=9"), stage.four()) == ("", "· none fits the filter\n")
    assert emitted(stage.face(output=options.Output.JSON), []) == ("[]\n", "")
    assert emitted(stage.face(output=options.Output.NAME), []) == ("", "")
    assert emitted(stage.face(output=options.Output.CSV), [])[0].startswith("id,name,uuid")


def test_a_wrong_filter_is_refused_also_on_an_empty_list() -> None:
    with pytest.raises(Exception, match="no key 'idd'"):
        emitted(stage.face(filter="idd=9"), [])


def test_one_thing_is_shown_line_by_line_or_whole() -> None:
    shown = stage.run(stage.root(), "vm", "show", "db1")[1]
    assert "state     Orphaned\n" in shown and shown.endswith("· last seen 14:02\n")
    assert "address   –\n" in shown
    assert json.loads(stage.run(stage.root(), "vm", "show", "db1", "-o", "json")[1])["id"] == 44
    assert stage.run(stage.root(), "vm", "show", "db1", "-o", "name")[1] == "db1\n"
    assert len(stage.run(stage.root(), "vm", "show", "db1", "-o", "csv")[1].splitlines()) == 2


def test_a_record_without_a_table_is_shown_in_every_form() -> None:
    def shown(form: options.Output) -> str:
        face = stage.face(output=form)
        output.emit_record(face, {"a": 1, "b": None}, ["a is 1\x1b"], name="a")
        return face.streams.stdout.getvalue()  # type: ignore[attr-defined, no-any-return]

    assert shown(options.Output.TABLE) == "a is 1\\x1b\n"
    assert json.loads(shown(options.Output.JSON)) == {"a": 1, "b": None}
    assert shown(options.Output.YAML) == "a: 1\nb: null\n"
    assert shown(options.Output.CSV) == "a,b\n1,\n"
    assert shown(options.Output.NAME) == "a\n"


def test_what_is_said_for_people_stays_out_of_data() -> None:
    assert stage.run(stage.root(), "vm", "create", "a", "-o", "json") == (0, "", "")
    assert "qemu" in stage.run(stage.root(), "vm", "create", "a", "-o", "json", "-v")[2]


def test_no_form_sends_a_control_character_raw() -> None:
    bad = "\x1b]0;x\x07\x9b\u202e\x7f"
    rows = [stage.vm(1, host=None, observed=Observed(), user=bad, reason=bad)]
    for form in options.Output:
        out, _err = emitted(stage.face(output=form), rows)
        assert out.replace("\n", "").isprintable(), form


def test_wrong_columns_and_wrong_filters_are_told_together() -> None:
    words = ("-c", "name,nam,colour", "--filter", "size=1,state=Running,age>3")
    code, out, err = stage.run(stage.root(), "vm", "list", *words)

    assert (code, out) == (2, "")
    assert [line.split(":")[0] for line in err.splitlines() if line.startswith("error")] == [
        *("error[E-COLUMN]", "error[E-COLUMN]", "error[E-FILTER]", "error[E-FILTER]"),
    ]
    for wrong in ("nam", "colour", "size", "age"):
        assert f"'{wrong}'" in err


def test_a_cause_is_broken_between_words_on_a_terminal_and_what_is_typed_is_not() -> None:
    on = stage.streams(tty=True, env={"COLUMNS": "60", "NO_COLOR": "1"})

    _code, _out, err = stage.run(stage.root(), "vm", "list", "-c", "nam", on=on)

    lines = err.splitlines()
    assert len(lines) > 5
    assert max(map(len, lines)) <= 60
    assert all(not line.endswith(" ") and "operation.\n" not in line for line in lines)
