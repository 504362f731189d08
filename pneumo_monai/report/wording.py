"""Our own texts and numbers as every character set and value representation holds them."""

import unicodedata

__all__ = [
    "RESEARCH_USE",
    "as_sentence",
    "in_ascii",
    "in_percent",
    "name_in_ascii",
    "shown_percentage",
    "shown_threshold",
]

RESEARCH_USE = "For research use only. Not a medical device."

_FEWEST_DECIMALS, _MOST_DECIMALS = 2, 12
"""Of a percentage: what calibration can tell apart, and what Decimal String holds (PS3.5: 16 characters)."""


def in_ascii(text: str) -> str:
    """Return a text of ours without accents, in ASCII: every character set of PS3.3 C.12.1.1.2 holds that.

    Raises
    ------
    ValueError
        Nothing of the text is left.
    """
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    if not (words := " ".join(ascii_only.split())):
        raise ValueError("a text of the report has no letters that every character set holds")
    return words


def as_sentence(text: str, *, otherwise: str) -> str:
    """Return what a person wrote as a sentence of ASCII, with a full stop; `otherwise` where no word of it is left."""
    try:
        sentence = in_ascii(text)
    except ValueError:
        sentence = ""
    if not any(character.isalnum() for character in sentence):
        sentence = otherwise
    sentence = sentence[:1].upper() + sentence[1:]
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def name_in_ascii(name: str) -> str:
    """Return a name of ours as Long String holds it: in ASCII, 64 characters, no backslash (PS3.5 table 6.2-1)."""
    return in_ascii(name.replace("\\", " "))[:64].rstrip()


def shown_percentage(probability: float, *, threshold: float, present: bool) -> float:
    """Round a probability for people, in percent, never across the operating point.

    49.996 % against 50 % is absent; written as 50.00 % it would contradict its own assessment. So decimals are added
    until the rounded number lies on the side of the threshold where the finding is.

    Parameters
    ----------
    probability : float
        Calibrated, 0 to 1.
    threshold : float
        Of the operating point, 0 to 1.
    present : bool
        The assessment.

    Raises
    ------
    ValueError
        No number at all, or the assessment is not what the operating point says of this probability.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError("a probability lies between 0 and 1")
    if present is not (probability >= threshold):
        raise ValueError("the assessment contradicts the operating point")
    exact = 100.0 * probability
    for decimals in range(_FEWEST_DECIMALS, _MOST_DECIMALS):
        if (round(exact, decimals) >= 100.0 * threshold) is present:
            return round(exact, decimals)
    return round(exact, _MOST_DECIMALS)


def shown_threshold(threshold: float, shown: float, *, present: bool) -> float:
    """Round a threshold (0 to 1) for people, in percent, but not across the percentage beside which it stands."""
    exact = 100.0 * threshold
    for decimals in range(_FEWEST_DECIMALS, _MOST_DECIMALS):
        if (shown >= round(exact, decimals)) is present:
            return round(exact, decimals)
    return round(exact, _MOST_DECIMALS)


def in_percent(shown: float) -> str:
    """Write a percentage with as many decimals as rounding left, two at the least."""
    whole, _, decimals = f"{shown:.{_MOST_DECIMALS}f}".rstrip("0").partition(".")
    return f"{whole}.{decimals:0<{_FEWEST_DECIMALS}} %"
