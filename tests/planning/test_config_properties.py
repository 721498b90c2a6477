"""Whatever stands in a layer: Settings or our own errors, never anything else."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tashictl.errors import TashiError
from tashictl.model.settings import Layer
from tashictl.planning.config import listing, merge
from tashictl.planning.config_options import OPTIONS, Kind

NAMES = st.sampled_from(OPTIONS).map(lambda o: (o.section, o.name.replace("<n>", "7")))
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["1", "60.0", "True", "1.2.3.4 53", "10.0.0.1-10.0.0.9", "-", "::", "%(x)s", "9" * 400,
         "a.b.C", "/x", "\0", "1e999", "٣", "fe80::1%eth0-fe80::2"]
    ),
)  # fmt: skip


def merge_or_refuse(layers: list[Layer], environ: dict[str, str]) -> None:
    try:
        merged = merge(layers, environ)
    except TashiError as error:
        assert error.what
    else:
        assert listing(merged)


@given(st.lists(st.text(max_size=200), max_size=3))
@example(["[DhcpDns]\nipRange" + "0" * 50000 + "x = 1\n"])
@example(["[Qemu]\naccel\n = kvm\n"])
def test_arbitrary_text_is_merged_or_refused(texts: list[str]) -> None:
    merge_or_refuse([Layer(path="x", text=t, others_read=True) for t in texts], {})


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_arbitrary_values_of_known_options_are_merged_or_refused(
    pairs: list[tuple[tuple[str, str], str]],
) -> None:
    text = "".join(f"[{section}]\n{name} = {value}\n" for (section, name), value in pairs)
    merge_or_refuse([Layer(path="x", text=text)], {})


@given(st.dictionaries(st.tuples(NAMES, st.booleans()), VALUES, max_size=8))
def test_arbitrary_environments_are_merged_or_refused(
    values: dict[tuple[tuple[str, str], bool], str],
) -> None:
    environ = {
        f"TASHICTL_{section}_{name}".upper() + "X" * odd: value
        for ((section, name), odd), value in values.items()
    }
    merge_or_refuse([], environ)


@given(st.sampled_from([o for o in OPTIONS if o.kind is Kind.OBSOLETE]), VALUES)
def test_an_obsolete_option_is_never_an_error(option: object, value: str) -> None:
    name, section = option.name.replace("<n>", "1"), option.section  # type: ignore[attr-defined]
    merged = merge([], {f"TASHICTL_{section}_{name}".upper(): value})
    assert bool(merged.notes) == bool(value)
