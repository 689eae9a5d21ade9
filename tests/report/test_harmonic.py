"""Which H may stand beside a printed U->T and S->T."""

from __future__ import annotations

from decimal import ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zslbench.report.published import beyond, decimals, implied_h

accuracies = st.decimals(0, 100, places=5)
places = st.integers(0, 3)
roundings = st.sampled_from([ROUND_HALF_UP, ROUND_HALF_DOWN, ROUND_HALF_EVEN])


def printed(value: Decimal, digits: int, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-digits), rounding)


def harmonic(u: Decimal, s: Decimal) -> Decimal:
    with localcontext(prec=60):
        return 2 * u * s / (u + s) if u + s else Decimal(0)


@given(accuracies, accuracies, places, places, places, roundings, roundings)
def test_values_that_were_only_rounded_are_never_flagged(
    u: Decimal, s: Decimal, u_digits: int, s_digits: int, h_digits: int, rounding: str, h_rounding: str
) -> None:
    low, high = implied_h(printed(u, u_digits, rounding), printed(s, s_digits, rounding), h_digits)
    assert beyond(printed(harmonic(u, s), h_digits, h_rounding), low, high) == 0


@given(st.decimals(0, 100, places=1), st.decimals(0, 100, places=1), st.integers(1, 300))
def test_a_shift_beyond_what_rounding_allows_is_always_flagged(u: Decimal, s: Decimal, steps: int) -> None:
    # the derivatives of H sum to at most 2, so two roundings of 0.05 move it by 0.1 at most, and its own by 0.05
    h = harmonic(u, s)
    low, high = implied_h(u, s, 1)
    shift = Decimal("0.15") + steps * Decimal("0.1")
    assert beyond(printed(h + shift, 1), low, high) > 0
    assert beyond(printed(h - shift, 1), low, high) < 0


@given(st.decimals(1, 99, places=1), st.decimals(1, 99, places=1))
def test_the_range_is_reached_and_not_wider(u: Decimal, s: Decimal) -> None:
    half = Decimal("0.05")
    low, high = implied_h(u, s, 1)
    at_lower, at_upper = harmonic(u - half, s - half), harmonic(u + half, s + half)
    assert low - half <= at_lower <= low + half  # it rounds to the lower end
    assert high - half <= at_upper <= high + half


@pytest.mark.parametrize(
    ("u", "s", "low", "high"),
    [
        ("1.0", "37.8", "1.9", "2.0"),  # 2 x 0.95 x 37.75 / 38.70 = 1.853 and 2 x 1.05 x 37.85 / 38.90 = 2.043
        ("52.6", "86.5", "65.4", "65.5"),  # 65.377 and 65.456, by hand
        ("0.0", "88.7", "0.0", "0.1"),  # 0 and 2 x 0.05 x 88.75 / 88.80 = 0.0999
        ("0.0", "0.0", "0.0", "0.1"),  # 0 and 0.05, a half that may go up
        ("100.0", "100.0", "99.9", "100.0"),  # 99.95, a half that may go down; no accuracy is above 100
        ("50", "50", "49.5", "50.5"),
    ],
)
def test_the_range_by_hand(u: str, s: str, low: str, high: str) -> None:
    found = implied_h(Decimal(u), Decimal(s), 1)
    assert [str(end) for end in found] == [low, high]


def test_the_decimals_that_were_printed_are_kept_and_widen_the_range() -> None:
    assert [decimals(Decimal(text)) for text in ("59", "59.2", "59.20")] == [0, 1, 2]
    assert implied_h(Decimal("24.90"), Decimal("38.60"), 2) == (Decimal("30.27"), Decimal("30.28"))  # 30.2728
    assert implied_h(Decimal("24.9"), Decimal("38.6"), 0) == (30, 30)


def test_how_far_a_value_is_beyond_a_range_is_signed() -> None:
    low, high = Decimal("65.4"), Decimal("65.5")
    values = [Decimal(text) for text in ("76.8", "65.5", "65.4", "65.1")]
    assert [str(beyond(value, low, high)) for value in values] == ["11.3", "0.0", "0.0", "-0.3"]
