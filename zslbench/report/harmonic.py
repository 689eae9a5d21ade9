"""Can a printed H be the harmonic mean of the U->T and S->T printed beside it? Exact, in rational numbers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

HALF = Fraction(1, 2)


def implied_h(acc_ut: Decimal, acc_st: Decimal, places: int) -> tuple[Decimal, Decimal]:
    """Returns the smallest and the largest H that can be printed beside U->T and S->T.

    A value printed as u with d decimals lies within u ± 10^-d / 2, and H = 2us / (u + s) grows with both: so H lies
    between its values at both lower and at both upper ends, and is itself rounded. Ends count as inside, because a half
    may have been rounded either way.

    Args:
        acc_ut: U->T in percent, with as many decimals as were printed.
        acc_st: S->T likewise.
        places: decimals that H is printed with.
    """
    (ut_low, ut_high), (st_low, st_high) = _interval(acc_ut), _interval(acc_st)
    low = ceil(_harmonic(ut_low, st_low) * 10**places - HALF)
    high = floor(_harmonic(ut_high, st_high) * 10**places + HALF)
    return Decimal(f"{low}e-{places}"), Decimal(f"{high}e-{places}")


def beyond(value: Decimal, low: Decimal, high: Decimal) -> Decimal:
    """Returns how far a value lies above (positive) or below (negative) a range; 0 inside."""
    return max(value - high, Decimal(0)) + min(value - low, Decimal(0))


def decimals(value: Decimal) -> int:
    """Returns with how many decimals a value is printed."""
    return max(-int(value.as_tuple().exponent), 0)


def _interval(printed: Decimal) -> tuple[Fraction, Fraction]:
    half = HALF / 10 ** decimals(printed)
    return max(Fraction(printed) - half, Fraction(0)), min(Fraction(printed) + half, Fraction(100))


def _harmonic(u: Fraction, s: Fraction) -> Fraction:
    return 2 * u * s / (u + s) if u + s else Fraction(0)
