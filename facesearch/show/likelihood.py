"""How likely and how many, in few words."""

from __future__ import annotations


def percent(probability: float) -> str:
    """Give a probability in per cent with one decimal, but never a certainty that no model has."""
    if probability > 0.999:
        return ">99.9 %"
    return "<0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def few(count: float) -> str:
    """Give a count that is an estimate."""
    return "<0.01" if count < 0.01 else f"{count:.2g}" if count < 10 else f"{count:,.0f}"
