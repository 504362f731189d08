"""Our own texts and numbers as every character set and value representation holds them."""

import unicodedata

__all__ = ["RESEARCH_USE", "as_sentence", "in_ascii", "name_in_ascii", "shown_probability"]

RESEARCH_USE = "For research use only. Not a medical device."

_FEWEST_DIGITS, _MOST_DIGITS = 4, 14
"""Decimals of a probability: what calibration can tell apart, and what Decimal String holds (PS3.5: 16 characters)."""


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
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def name_in_ascii(name: str) -> str:
    """Return a name of ours as Long String holds it: in ASCII, 64 characters, no backslash (PS3.5 table 6.2-1)."""
    return in_ascii(name.replace("\\", " "))[:64].rstrip()


def shown_probability(probability: float, *, threshold: float, present: bool) -> float:
    """Round a probability for people, never across the operating point.

    0.49996 against 0.5 is absent; written as 0.5000 it would contradict its own assessment. So decimals are added until
    the rounded number lies on the side of the threshold where the finding is.

    Parameters
    ----------
    probability : float
        Calibrated, 0 to 1.
    threshold : float
        Of the operating point.
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
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS):
        if (round(probability, digits) >= threshold) is present:
            return round(probability, digits)
    return round(probability, _MOST_DIGITS)
