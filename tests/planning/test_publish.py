"""What collectors get: text that their own parsers read, and Ganglia's names."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as textfile

from tashictl.planning import metrics, publish
from tashictl.planning.publish import Measured

AT_S = 1_795_694_400.25


def a_vm(name: str = "web1", **values: float) -> Measured:
    return Measured(
        of="vm",
        subject="vm:7c1e",
        name=name,
        host="node1",
        user="dev",
        at_s=AT_S,
        values=values or {"cpuLoad": 0.25, "rss": 2.0, "disk0_rd_bytes_per_s": 5.0},
    )


def a_host(name: str = "node1", **values: float) -> Measured:
    return Measured(
        of="host",
        subject=f"host:{name}",
        name=name,
        host=name,
        at_s=AT_S,
        values=values or {"cpu_busy": 0.5, "mount_lib_free_bytes": 7.0, "pressure_io": 1.5},
    )


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What the parser of node_exporter's form reads, by name and labels."""
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in textfile(text)
        for s in family.samples
    }


def test_the_text_has_base_units_and_says_of_whom() -> None:
    text = publish.openmetrics([a_vm(), a_host()], stamped=False)
    found = samples(text)
    vm = (("host", "node1"), ("user", "dev"), ("vm", "web1"))

    assert found[("tashictl_vm_cpu_load_cores", vm)] == 0.25
    assert found[("tashictl_vm_resident_memory_bytes", vm)] == 2 * 1024 * 1024
    block = (("device", "disk0"), *vm)
    assert found[("tashictl_vm_block_rd_bytes_per_second", block)] == 5.0
    host = (("host", "node1"),)
    assert found[("tashictl_host_cpu_busy_ratio", host)] == 0.5
    assert found[("tashictl_host_pressure_io_ratio", host)] == pytest.approx(0.015)
    assert found[("tashictl_host_mount_free_bytes", (*host, ("mount", "lib")))] == 7.0
    assert found[("tashictl_vm_sample_timestamp_seconds", vm)] == AT_S


def test_the_text_without_times_has_none_for_the_textfile_collector() -> None:
    bare = publish.openmetrics([a_vm(), a_host()], stamped=False)
    stamped = publish.openmetrics([a_vm(), a_host()], stamped=True)

    assert {s.timestamp for f in openmetrics(bare) for s in f.samples} == {None}
    assert {float(s.timestamp) for f in openmetrics(stamped) for s in f.samples} == {AT_S}
    assert bare.endswith("\n# EOF\n") and stamped.endswith("\n# EOF\n")


def test_help_type_and_unit_stand_once_before_all_samples_of_a_name() -> None:
    text = publish.openmetrics([a_vm("a"), a_host(), a_vm("b"), a_host("node2")], stamped=False)
    lines = text.splitlines()

    for kind in ("TYPE", "UNIT", "HELP"):
        heads = [line.split()[2] for line in lines if line.startswith(f"# {kind} ")]
        assert len(heads) == len(set(heads))
    families = list(openmetrics(text))
    assert all(f.type == "gauge" for f in families)
    assert {f.unit for f in families} >= {"bytes", "cores", "ratio", "seconds", ""}


def test_nothing_measured_is_a_valid_text_too() -> None:
    assert publish.openmetrics([], stamped=False) == "# EOF\n"


def test_a_value_that_is_no_number_or_unknown_is_left_out() -> None:
    text = publish.openmetrics([a_vm(cpuLoad=math.nan, nonsense=1.0, rss=3.0)], stamped=False)

    assert "nonsense" not in text and "cpu_load" not in text
    assert "resident" in text


NAMES = [m.name.replace("<role>", "lib") for m in metrics.METRICS if "<dev>" not in m.name]


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20),
    st.dictionaries(
        st.sampled_from([*NAMES, "disk0_wr_operations_per_s", "a_b_failed_rd_operations_per_s"]),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.booleans(),
)
def test_whatever_the_names_and_values_the_text_is_valid_and_says_them(
    name: str, values: dict[str, float], stamped: bool
) -> None:
    one = Measured(
        of="vm", subject="vm:x", name=name, host=name, user=name, at_s=AT_S, values=values
    )
    other = Measured(of="host", subject="host:x", name=name, at_s=AT_S, values=values)
    text = publish.openmetrics([one, other], stamped=stamped)

    seen = [s for f in openmetrics(text) for s in f.samples]
    assert {s.labels.get("vm", name) for s in seen} <= {name}
    of_vm = {m.name for m in metrics.METRICS if m.of == "vm"}
    plain = [n for n in values if n in of_vm]
    for key in plain:
        found = metrics.find("vm", key)
        assert found is not None
        scaled = values[key] * found.metric.scale
        told = [s.value for s in seen if s.name == found.exported]
        assert told == ([pytest.approx(scaled)] if math.isfinite(scaled) else [])


def test_every_metric_has_a_name_that_ends_in_its_unit() -> None:
    for metric in metrics.METRICS:
        assert metric.export.endswith(metric.base), metric.name
        assert metric.about and metric.of in ("vm", "host")
    assert len({m.exported for m in metrics.METRICS}) == len(metrics.METRICS)


@pytest.mark.parametrize(
    ("name", "device", "exported"),
    [
        ("disk0_rd_bytes_per_s", "disk0", "rd_bytes"),
        ("disk0_flush_total_time_ns_per_s", "disk0", "flush_total_time_ns"),
        ("pf_lash_failed_wr_operations_per_s", "pf_lash", "failed_wr_operations"),
    ],
)
def test_a_block_counter_is_told_from_its_device(name: str, device: str, exported: str) -> None:
    found = metrics.find("vm", name)

    assert found is not None
    assert found.label == device
    assert found.exported == f"tashictl_vm_block_{exported}_per_second"


def test_ganglias_names_say_whose_they_are() -> None:
    plain = publish.ganglia([a_vm(), a_host()], (), spoofed=False)
    spoofed = publish.ganglia([a_vm(), a_host()], ("cpuLoad", "cpu_busy"), spoofed=True)

    assert [v.name for v in plain][:2] == ["vm_web1_cpuLoad", "vm_web1_rss"]
    assert {v.host for v in plain} == {""}
    assert "host_node1_cpu_busy" in [v.name for v in plain]
    assert [(v.name, v.host, v.unit) for v in spoofed] == [
        ("vm_web1_cpuLoad", "node1", "cores"),
        ("cpu_busy", "node1", ""),
    ]
