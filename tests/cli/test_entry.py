"""The console script: what main itself cannot catch."""

import pytest

from tashictl.cli import entry, main


def test_ctrl_c_while_libraries_are_imported_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pressed() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "run", pressed)

    assert entry.run() == 130
