import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning import cloudinit
from tests.planning import seed_cases as cases
from tests.planning.seed_cases import NETWORKS, nic, vm


@pytest.mark.parametrize("name", cases.CASES)
def test_the_texts_of_a_seed_are_the_golden_ones(name: str) -> None:
    golden = (cases.GOLDEN / f"{name}.txt").read_bytes().decode()

    assert cases.joined(cases.CASES[name]) == golden


def test_without_user_data_and_keys_there_is_no_seed() -> None:
    assert cloudinit.texts(vm(nic(0, 1)), NETWORKS, None, ()) is None


# A key's comment is free text; YAML must give it back as it was.
_COMMENTS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30).map(
    str.strip
)


@given(
    comment=_COMMENTS, name=st.sampled_from(["web1", "n", "on", "0x1", "1e3", "null", "2026-01-01"])
)
def test_every_text_is_read_back_from_yaml_as_it_was_meant(comment: str, name: str) -> None:
    key = " ".join(f"{cases.ED25519} {comment}".split())
    texts = cloudinit.texts(vm(nic(0, 1), name=name), NETWORKS, None, (key.encode(),))

    assert texts is not None
    meta = yaml.safe_load(texts["meta-data"])
    assert meta == {"instance-id": cases.UUID, "local-hostname": name, "public-keys": [key]}
    assert texts["user-data"].startswith(b"#cloud-config\n")
    assert yaml.safe_load(texts["user-data"]) == {"ssh_authorized_keys": [key]}


@given(data=st.binary(max_size=200))
def test_the_operators_user_data_arrives_byte_for_byte(data: bytes) -> None:
    texts = cloudinit.texts(vm(nic(0, 1)), NETWORKS, data, (cases.RSA.encode(),))

    assert texts is not None and texts["user-data"] == data
    assert yaml.safe_load(texts["meta-data"])["public-keys"] == [cases.RSA]


@given(
    networks=st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=6),
    ips=st.lists(st.one_of(st.none(), st.ip_addresses()), min_size=6, max_size=6),
)
def test_each_nic_has_one_entry_and_each_family_one_default_route(
    networks: list[int], ips: list[object]
) -> None:
    nics = [
        nic(i, n, str(ip) if ip else None)
        for i, (n, ip) in enumerate(zip(networks, ips, strict=False))
    ]

    config = yaml.safe_load(cloudinit.network_config(nics, NETWORKS))

    assert config["version"] == 2
    entries = config["ethernets"]
    assert list(entries) == [f"eth{i}" for i in range(len(nics))]
    for one in nics:
        entry = entries[f"eth{one.index}"]
        assert entry["match"] == {"macaddress": one.mac.lower()}
        assert entry["set-name"] == f"eth{one.index}"
        assert entry["dhcp4"] is ("addresses" not in entry)
        if "addresses" in entry:
            assert entry["addresses"][0].startswith(f"{one.ip}/")
    routes = [r["to"] for e in entries.values() for r in e.get("routes", ())]
    assert len(routes) == len(set(routes))


def test_all_that_is_wrong_is_found_at_once() -> None:
    found = cloudinit.problems(b"#cloud-config\na: [\n", (b"no key\n", cases.RSA.encode(), b""))

    assert [p.code for p in found] == ["E-CLOUD-INIT", "E-SSH-KEY", "E-SSH-KEY"]


def test_keys_that_a_cloud_config_keeps_out_are_refused() -> None:
    data = b"#cloud-config\nallow_public_ssh_keys: false\n"

    assert cloudinit.problems(data, ()) == []
    (found,) = cloudinit.problems(data, (cases.RSA.encode(),))
    assert "allow_public_ssh_keys" in found.what
