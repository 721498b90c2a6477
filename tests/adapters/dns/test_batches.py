"""Updates in groups end as they would one by one, also where a server falls silent amid them."""

import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.adapters.dns import batches, forms
from tashictl.adapters.dns.batches import Part, Settling
from tashictl.errors import OperationFailed, Uncertain, Unreachable
from tests.adapters.dns.memory import Memory, Records

ADD = (batches.create, batches.renew)
REMOVE = (batches.take_away, batches.gone)
ZONES = [forms.name_of("a.test"), forms.name_of("b.test")]
OWNERS = ["tashictl:c1:u1", "tashictl:c1:u2", "tashictl:c2:u3"]
TEXT = dns.rdatatype.TXT


def part(number: int, label: str, address: int = 1, owner: int = 0, zone: int = 0) -> Part:
    name = dns.name.Name((label.encode(), *ZONES[zone].labels))
    return Part(
        entry=number,
        zone=ZONES[zone],
        name=name,
        mark=forms.mark_name(name),
        owner=forms.text_data(OWNERS[owner]),
        kinds=forms.ADDRESS_KINDS,
        data=(forms.address_data(f"172.16.0.{address}"),),
        ttl_s=60,
    )


def one_by_one(records: Records, parts: list[Part], *, adds: bool) -> tuple[Records, list[int]]:
    """What the contract says, in other words."""
    now = dict(records)
    odd = []
    for each in parts:
        used = {name for name, _ in now}
        ours = now.get((each.mark, TEXT)) == {each.owner}
        address = (each.name, dns.rdatatype.A)
        if adds and each.name not in used and each.mark not in used:
            now[address], now[each.mark, TEXT] = frozenset(each.data), frozenset([each.owner])
        elif adds and ours and (each.name, dns.rdatatype.CNAME) not in now:
            now.pop((each.name, dns.rdatatype.AAAA), None)
            now[address] = frozenset(each.data)
        elif not adds and ours:
            del now[each.mark, TEXT]
            left = now.pop(address, frozenset()) - set(each.data)
            if left:
                now[address] = left
        elif adds or (each.mark, TEXT) in now:
            odd.append(each.entry)
    return now, odd


def things(label: str) -> st.SearchStrategy[Records]:
    """What may stand at a name."""
    at = part(0, label)
    cname = forms._data(dns.rdatatype.CNAME, forms.name_of("www.test").to_wire() or b"")
    values = {
        (at.name, dns.rdatatype.A): [frozenset(part(0, label, a).data) for a in (1, 9)],
        (at.name, dns.rdatatype.AAAA): [frozenset([forms.address_data("2001:db8::1")])],
        (at.name, TEXT): [frozenset([forms.text_data("hello")])],
        (at.mark, TEXT): [
            *(frozenset([forms.text_data(owner)]) for owner in OWNERS),
            frozenset(forms.text_data(text) for text in (OWNERS[0], "hello")),
        ],
    }
    plain = st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in values.items()})
    marks = {k: st.sampled_from(v) for k, v in values.items() if k[0] == at.mark}
    alias = st.fixed_dictionaries(
        {(at.name, dns.rdatatype.CNAME): st.just(frozenset([cname]))}, optional=marks
    )
    return st.one_of(plain, alias)


LABELS = [f"vm{n}" for n in range(12)]
RECORDS = st.tuples(*(things(label) for label in LABELS)).map(
    lambda each: {at: value for records in each for at, value in records.items()}
)
PARTS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.integers(1, 3), st.integers(0, 2)), max_size=20
).map(lambda each: [part(n, *fields) for n, fields in enumerate(each)])


@given(RECORDS, PARTS, st.booleans())
def test_many_at_once_end_as_one_by_one(records: Records, parts: list[Part], adds: bool) -> None:
    link = Memory(records)
    settling = Settling(link)

    settling.settle(parts, ADD if adds else REMOVE)

    wanted, odd = one_by_one(records, parts, adds=adds)
    assert link.records == wanted
    assert sorted(p.entry for p in settling.odd) == odd
    assert settling.errors == {}


@given(RECORDS, PARTS, st.booleans(), st.integers(1, 12), st.booleans(), st.booleans())
def test_what_is_not_done_is_told_and_a_repetition_does_it(
    records: Records, parts: list[Part], adds: bool, silent: int, done: bool, reached: bool
) -> None:
    parts = list({each.name: each for each in parts}.values())
    ways = ADD if adds else REMOVE
    link = Memory(records)
    link.silent, link.done, link.reached = silent, done, reached
    settling = Settling(link)
    settling.settle(parts, ways)

    wanted, odd = one_by_one(records, parts, adds=adds)
    told = {p.entry for p in settling.odd}
    for each in parts:
        error = settling.errors.get(each.entry)
        assert (each.entry in told) <= (each.entry in odd)
        now = at(link.records, each)
        if error is None:
            assert now == at(wanted, each)
        elif not isinstance(error, Uncertain):
            assert isinstance(error, Unreachable)
            assert now == at(records, each)
        else:
            assert now in (at(records, each), at(wanted, each))

    link.silent = 0
    Settling(link).settle(parts, ways)
    assert link.records == wanted


def at(records: Records, each: Part) -> Records:
    return {k: v for k, v in records.items() if k[0] in (each.name, each.mark)}


def test_a_thousand_go_in_groups_of_two_hundred_of_each_zone() -> None:
    link = Memory()
    settling = Settling(link)

    settling.settle([part(n, f"vm{n}", zone=n % 2) for n in range(1000)], ADD)

    assert [len(message.update) for message in link.sent] == [400, 400, 200] * 2
    assert settling.touched == set(range(1000))


@pytest.mark.parametrize("odd", [{0}, {617}, {999}, {200, 201, 640, 999}])
def test_the_few_that_do_not_go_through_are_found_in_few_messages(odd: set[int]) -> None:
    link = Memory()
    Settling(link).settle([part(n, f"vm{n}", owner=2) for n in odd], ADD)
    link.sent.clear()
    settling = Settling(link)

    settling.settle([part(n, f"vm{n}") for n in range(1000)], ADD)

    assert {p.entry for p in settling.odd} == odd
    assert len(link.sent) < 10 + 32 * len(odd)
    assert settling.touched == set(range(1000)) - odd


def test_a_message_that_would_be_too_large_is_halved_and_one_that_is_alone_is_refused() -> None:
    link = Memory()
    settling = Settling(link)
    long = tuple(forms.text_data(f"{'y' * 500}{n}") for n in range(2))

    settling.settle([replace(part(n, f"vm{n}"), data=long) for n in range(200)], ADD)

    assert settling.errors == {}
    assert settling.touched == set(range(200))
    assert len(link.sent) > 1
    huge = tuple(forms.text_data(f"{'z' * 200}{n}") for n in range(400))
    settling.settle([replace(part(0, "huge"), data=huge)], ADD)
    assert settling.errors[0].code == "E-DNS-NAME"


def test_a_name_that_is_twice_in_a_call_is_found_taken_the_second_time() -> None:
    link = Memory()
    settling = Settling(link)

    settling.settle([part(0, "vm1"), part(1, "vm1", owner=1), part(2, "vm2")], ADD)

    assert [p.entry for p in settling.odd] == [1]
    assert link.records[part(0, "vm1").mark, TEXT] == {part(0, "vm1").owner}


def test_a_refusal_is_told_of_its_zone_only() -> None:
    link = Memory()
    link.no[1] = dns.rcode.REFUSED
    settling = Settling(link)

    settling.settle([part(0, "vm1"), part(1, "vm1", zone=1)], ADD)

    assert isinstance(settling.errors[0], OperationFailed)
    assert settling.errors[0].code == "E-DNS-REFUSED"
    assert settling.touched == {1}


def test_of_an_entry_that_was_done_in_part_it_is_not_said_that_nothing_was_sent() -> None:
    link = Memory()
    settling = Settling(link)
    settling.settle([part(0, "vm1")], ADD)
    link.silent, link.reached = 2, False

    settling.settle([part(0, "rev1", zone=1), part(1, "rev2", zone=1)], ADD)

    assert isinstance(settling.errors[0], Uncertain)
    assert "rev1.b.test is done in part" in settling.errors[0].what
    assert not isinstance(settling.errors[1], Uncertain)
