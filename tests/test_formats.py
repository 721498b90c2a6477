"""docs/formats.md says what the code does."""

from __future__ import annotations

import re

from tashictl.adapters.book_file import BOOK_SCHEMA
from tashictl.adapters.config_files import NAMES
from tashictl.adapters.history_file import APPLICATION_ID, SCHEMA
from tashictl.model.operation import JOURNAL_SCHEMA
from tashictl.model.state import MIN_WRITER, STATE_SCHEMA
from tashictl.planning.inventory import load
from tashictl.planning.manifest import MANIFEST_SCHEMA
from tests.formats_table import DOCUMENT, TABLES, filled, names


def test_every_table_of_the_formats_is_the_one_that_the_code_makes() -> None:
    text = DOCUMENT.read_text()
    assert names(text) == set(TABLES)
    assert filled(text) == text, "run: python -m tests.formats_table"


def test_the_formats_name_the_schemas_of_this_version() -> None:
    text = DOCUMENT.read_text()
    for what, number in (
        ("state", STATE_SCHEMA),
        ("journal", JOURNAL_SCHEMA),
        ("events", BOOK_SCHEMA),
        ("manifest", MANIFEST_SCHEMA),
        ("history", SCHEMA),
    ):
        assert f"| {what} | {number} |" in text
    assert f"`min_writer` {MIN_WRITER}" in text
    assert f"`application_id` 0x{APPLICATION_ID:X}" in text


def test_the_formats_name_every_file_of_the_configuration() -> None:
    text = DOCUMENT.read_text()
    stems = {name.removesuffix(".cfg").removesuffix("Defaults") for name in NAMES}
    assert all(stem in text for stem in stems)


def test_the_yaml_of_the_formats_is_a_right_inventory() -> None:
    (yaml,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    inventory = load([("formats.md", yaml)])
    assert [h.name for h in inventory.hosts] == ["node1", "node2", "node3"]
    assert [n.id for n in inventory.networks] == [1, 999]
