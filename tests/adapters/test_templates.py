from pathlib import Path

import pytest

from tashictl.adapters import templates
from tashictl.errors import InvalidRequest

NAME = "qemu-ifup.j2"


def test_the_shipped_template_is_found() -> None:
    assert "#!/bin/sh\n" in templates.read(NAME, [])


def test_an_own_template_comes_first_in_the_order_given(tmp_path: Path) -> None:
    first, second, empty = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for folder, text in ((first, "first"), (second, "sécond")):
        folder.mkdir()
        (folder / NAME).write_text(text, encoding="utf-8")

    assert templates.read(NAME, [empty, first, second]) == "first"
    assert templates.read(NAME, iter([second, first])) == "sécond"


def test_an_installed_template_is_found_without_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_text("installed", encoding="utf-8")
    monkeypatch.setattr(templates, "_CHECKOUT", tmp_path / "none")
    monkeypatch.setattr(templates, "_INSTALLED", tmp_path)

    assert templates.read(NAME, []) == "installed"


def test_a_template_that_is_nowhere_is_refused_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        templates.read("none.j2", [tmp_path])

    assert caught.value.code == "E-TEMPLATE"
    assert str(tmp_path) in caught.value.cause


def test_a_hosts_own_template_comes_before_the_clusters(tmp_path: Path) -> None:
    common, own = tmp_path / "templates", tmp_path / "templates" / "hosts" / "node2"
    own.mkdir(parents=True)
    (common / NAME).write_text("the cluster's")
    (own / NAME).write_text("node2's")

    assert templates.read(NAME, templates.own_folders(tmp_path, "node1")) == "the cluster's"
    assert templates.read(NAME, templates.own_folders(tmp_path, "node2")) == "node2's"
    assert templates.read(NAME, templates.own_folders(tmp_path)) == "the cluster's"
    assert templates.of_hosts(NAME, tmp_path) == {"node2": "node2's"}
    assert templates.of_hosts(NAME, tmp_path / "none") == {}


def test_an_own_template_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"\xff\xfe")

    with pytest.raises(InvalidRequest) as caught:
        templates.read(NAME, [tmp_path])

    assert str(tmp_path / NAME) in caught.value.what
