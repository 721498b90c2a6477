"""Names and records of DNS from our texts, and back."""

import dns.name
import pytest

from tashictl.adapters.dns import forms
from tashictl.errors import InvalidRequest


@pytest.mark.parametrize(
    "text", ["web.cloud.test", "Web.Cloud.Test.", "_tashictl.a-b.c1", "a" * 63]
)
def test_a_name_is_what_it_looks_like_in_small_letters(text: str) -> None:
    assert forms.text_of(forms.name_of(text)) == text.lower().removesuffix(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        ".a",
        "a" * 64,
        ".".join(["a" * 50] * 6),
        "bücher.test",
        "a b.test",
        "*.test",
        "a\\046b.test",
        'a".test',
        "@",
        "-a.test",
        "a-.test",
        "a.test\n",
        "a.test..",
    ],
)
def test_what_dns_would_read_otherwise_is_no_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        forms.name_of(text)

    assert caught.value.code == "E-DNS-NAME"
    assert caught.value.cause


def test_a_name_that_has_no_room_for_its_mark_is_refused() -> None:
    longest = ".".join(["a" * 60] * 4)

    assert len(forms.mark_name(forms.name_of(longest)).to_wire() or b"") == 255
    with pytest.raises(InvalidRequest, match="E-DNS-NAME"):
        forms.mark_name(forms.name_of(f"{longest}.a"))


def test_an_address_has_a_record_and_a_name() -> None:
    assert forms.address_data("172.16.0.5").to_text() == "172.16.0.5"
    assert forms.address_data("2001:DB8:0::5").to_text() == "2001:db8::5"
    assert forms.reverse_name("172.16.0.5") == dns.name.from_text("5.0.16.172.in-addr.arpa")
    assert forms.text_of(forms.reverse_name("2001:db8::5")).startswith("5.0.0.0.")
    for text in ("172.16.0", "172.16.0.256", "", "fe80::1%eth0"):
        for made in (forms.address_data, forms.reverse_name):
            with pytest.raises(InvalidRequest, match="E-DNS-ADDRESS"):
                made(text)


def test_a_text_is_the_same_again_however_long() -> None:
    for text in ("tashictl:c1:u1", "", "ä" * 200, 'a "quoted" \\ text'):
        assert forms.value_of(forms.text_data(text)) == text
    assert forms.value_of(forms.pointer_data(forms.name_of("Web.Test"))) == "web.test"
