import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl import errors
from tashictl.errors import Problems, TashiError, exit_code_of, raise_all

CODES = {
    errors.OperationFailed: 1,
    errors.StepFailed: 1,
    errors.InvalidRequest: 2,
    errors.NoSuchTarget: 3,
    errors.PartialResult: 4,
    errors.Conflict: 5,
    errors.Unreachable: 6,
    errors.Uncertain: 6,
    errors.NotPermitted: 7,
    errors.NoCapacity: 8,
    errors.FaultsFound: 9,
    errors.Interrupted: 130,
}


def every(base: type[TashiError]) -> set[type[TashiError]]:
    return {base}.union(*(every(kind) for kind in base.__subclasses__()))


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_each_error_has_the_exit_code_of_the_contract(kind: type[TashiError], code: int) -> None:
    assert exit_code_of(kind("E-X", "what")) == code


def test_there_is_no_error_without_a_code_here_and_a_place_in_the_drawing() -> None:
    kinds = {k for k in every(TashiError) if k.__module__ == errors.__name__}

    assert kinds - {TashiError, Problems, errors.SummedUp} == set(CODES)
    drawn = errors.__doc__ or ""
    for kind in kinds:
        assert kind.__name__ in drawn
    for kind, code in CODES.items():
        line = next(x for x in drawn.splitlines() if f"-- {kind.__name__} " in x)
        assert f"[{code}]" in line


def test_an_error_says_code_thing_and_cause() -> None:
    error = errors.Conflict(
        "E-X", "web1 is taken", cause="since", hint="other", host="h", leftovers=["a", "b"]
    )

    assert str(error) == "[E-X] web1 is taken (since)"
    assert str(errors.Conflict("E-X", "web1 is taken")) == "[E-X] web1 is taken"
    assert (error.hint, error.host, error.leftovers) == ("other", "h", ("a", "b"))


def test_no_problem_raises_nothing_and_one_is_raised_as_itself() -> None:
    one = errors.Conflict("E-X", "x")

    raise_all([])
    with pytest.raises(errors.Conflict) as caught:
        raise_all(iter([one]))
    assert caught.value is one


def test_several_problems_are_raised_together_in_their_order() -> None:
    two = (errors.NoCapacity("E-A", "a"), errors.Conflict("E-B", "b"))

    with pytest.raises(Problems) as caught:
        raise_all(two)

    assert caught.value.problems == two
    assert (caught.value.what, exit_code_of(caught.value)) == ("a; b", 5)


def test_what_sums_up_the_others_gives_the_code() -> None:
    others = (errors.InvalidRequest("E-A", "a"), errors.Unreachable("E-B", "b"))

    assert exit_code_of(errors.SummedUp([errors.PartialResult("E-PARTIAL", "x"), *others])) == 4
    assert exit_code_of(errors.SummedUp([errors.Interrupted("E-I", "x"), *others])) == 130


kinds = st.sampled_from(sorted(CODES, key=lambda kind: kind.__name__))


@given(st.lists(kinds, min_size=2))
def test_usage_comes_before_conflict_before_capacity(some: list[type[TashiError]]) -> None:
    code = exit_code_of(Problems(kind("E-X", "x") for kind in some))

    there = {CODES[kind] for kind in some}
    first = next((c for c in (2, 5, 8) if c in there), None)
    assert code == first if first is not None else code in there | {1}
