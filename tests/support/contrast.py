"""How well two colours are told apart: the contrast ratio of WCAG 2.2."""

from __future__ import annotations

from collections.abc import Sequence


def luminance(channels: Sequence[int]) -> float:
    """`channels`: red, green and blue, of 255 each."""
    parts = [one / 255 for one in channels]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Sequence[int], other: Sequence[int]) -> float:
    bright, dim = sorted([luminance(one), luminance(other)], reverse=True)
    return (bright + 0.05) / (dim + 0.05)
