from tashictl.model.settings import Layer, Weight
from tashictl.planning import config, config_advice


def told(text: str) -> list[tuple[Weight, str]]:
    merged = config.merge((Layer(path="/c/Tashi.cfg", text=text),), {})
    return [(note.weight, note.text) for note in config_advice.of(merged)]


def test_decayed_is_never_sooner_than_two_and_a_half_sweeps() -> None:
    said = (
        "allowDecayed is 30 s, a sweep is run every 60 s: a picture counts as decayed after 150 s, "
        "which is 2.5 sweeps"
    )

    assert told("") == [(Weight.NOTE, said)]
    assert told("[ClusterManagerService]\nallowDecayed = 150\n") == []
    assert told("[Tashictl]\nsweepInterval = 10\n") == []


def test_a_sweep_that_ends_before_a_host_may_answer_is_warned_of() -> None:
    found = told("[Tashictl]\nsweepInterval = 1\nsweepTimeout = 12\n")

    assert [weight for weight, _ in found] == [Weight.WARNING]
