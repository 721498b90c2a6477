from pathlib import Path

import pytest
from importlinter import cli as import_linter

import tashictl
from tests import floorplan

PACKAGE = Path(tashictl.__file__).parent
SETUP = PACKAGE.parent / "setup.cfg"
SOURCES = floorplan.sources(PACKAGE)

# rule, where, text with that one flaw
BAD = [
    (floorplan.upward_imports, "model/a.py", "from tashictl.planning import create\n"),
    (floorplan.upward_imports, "model/a.py", "from tashictl import cli\n"),
    (floorplan.upward_imports, "errors.py", "import tashictl.model.vm\n"),
    (floorplan.upward_imports, "ops/a.py", "from tashictl.adapters import files\n"),
    (floorplan.upward_imports, "adapters/a.py", "from tashictl.ops.ports import Remote\n"),
    (floorplan.upward_imports, "adapters/a.py", "from tashictl.planning import shell\n"),
    (floorplan.upward_imports, "planning/a.py", "def f():\n    import tashictl.ops.vm\n"),
    (floorplan.relative_imports, "model/a.py", "from . import vm\n"),
    (floorplan.relative_imports, "cli/a.py", "from ..model import vm\n"),
    (floorplan.impure_imports, "model/a.py", "import os\n"),
    (floorplan.impure_imports, "planning/a.py", "from os.path import join\n"),
    (floorplan.impure_imports, "planning/a.py", "def f():\n    import paramiko.client\n"),
    (floorplan.impure_imports, "errors.py", "import sys\n"),
    (floorplan.impure_calls, "planning/a.py", "text = open('a')\n"),
    (floorplan.impure_calls, "planning/a.py", "def f():\n    return datetime.now(UTC)\n"),
    (floorplan.impure_calls, "model/a.py", "day = date.today()\n"),
    (floorplan.impure_calls, "model/a.py", "print('a')\n"),
    (floorplan.prints, "ops/a.py", "print('a')\n"),
    (floorplan.prints, "cli/vm.py", "each = map(print, ())\n"),
    (floorplan.late_imports, "ops/a.py", "def f():\n    from tashictl.model import vm\n"),
    (
        floorplan.late_imports,
        "planning/a.py",
        "class A:\n    def f(self):\n        import tashictl\n",
    ),
    (floorplan.long_functions, "ops/a.py", "def f():\n" + "    a = 1\n" * 49),
    (floorplan.long_files, "ops/a.py", "a = 1\n" * 400),
    (floorplan.many_arguments, "ops/a.py", "def f(a, b, c, d, e, f, *, g): ...\n"),
    (floorplan.many_arguments, "cli/a.py", "def f(a, b, c, d, e, f, g): ...\n"),
    (floorplan.bare_excepts, "ops/a.py", "try:\n    a\nexcept:\n    raise\n"),
    (floorplan.bare_excepts, "ops/a.py", "try:\n    a\nexcept BaseException:\n    pass\n"),
    (floorplan.mutable_defaults, "ops/a.py", "def f(a=[]): ...\n"),
    (floorplan.mutable_defaults, "ops/a.py", "def f(*, a={}): ...\n"),
    (floorplan.missing_docstrings, "ops/a.py", "a = 1\n"),
    (floorplan.missing_docstrings, "ops/a.py", '"""A."""\ndef f(): ...\n'),
    (
        floorplan.missing_docstrings,
        "ops/a.py",
        '"""A."""\nclass A:\n    """B."""\n    def f(self): ...\n',
    ),
]
GOOD = [
    ("cli/a.py", "from tashictl.ops import vm\nfrom tashictl.adapters import files\n"),
    ("cli/a.py", "def _f():\n    from tashictl.ops import vm\n"),
    ("cli/output.py", "print('a')\n"),
    ("cli/a.py", "@click.pass_obj\ndef _f(a, b, c, d, e, f, g): ...\n"),
    ("ops/a.py", "from tashictl.ops.ports import World\nimport time\n"),
    ("ops/a.py", "def _f(self, a, b, c, d, e, f): ...\n"),
    ("ops/a.py", "def _f():\n    '''" + "a\n" * 60 + "'''\n" + "    a = 1\n" * 47),
    ("ops/a.py", "def _f():\n    def f(): ...\n"),
    ("planning/a.py", "import re\nfrom datetime import datetime\nfrom tashictl.model import vm\n"),
]


def test_the_package_is_there() -> None:
    rooms = {s.room for s in SOURCES}

    assert set(floorplan.MAY_IMPORT) <= rooms
    assert rooms - set(floorplan.MAY_IMPORT) == {"__init__"}


@pytest.mark.parametrize("rule", floorplan.RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_floor_plan(rule: floorplan.Rule) -> None:
    flaws = [flaw for source in SOURCES for flaw in floorplan.found(rule, source)]

    assert flaws == []


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_a_flaw_is_seen_by_its_rule(rule: floorplan.Rule, path: str, text: str) -> None:
    assert len(floorplan.found(rule, floorplan.read(path, text))) == 1


@pytest.mark.parametrize(("path", "text"), GOOD)
def test_what_is_allowed_is_no_flaw(path: str, text: str) -> None:
    assert floorplan.flaws(floorplan.read(path, f'"""A."""\n{text}')) == []


def test_every_rule_has_a_flaw_that_proves_it() -> None:
    assert {rule for rule, _, _ in BAD} == set(floorplan.RULES)


def test_the_import_contracts_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(PACKAGE.parent)

    code = import_linter.lint_imports(config_filename=str(SETUP), no_cache=True, no_logo=True)

    assert code == 0, capsys.readouterr().out


def test_every_contract_is_asked_for() -> None:
    text = SETUP.read_text(encoding="utf-8")

    for contract in ("layers", "pure", "world", "carry", "acyclic"):
        assert f"[importlinter:contract:{contract}]" in text
