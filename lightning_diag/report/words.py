"""Numbers and names for people: short, honest, and harmless whatever a user called a layer."""

from __future__ import annotations

import math
import re
import unicodedata

NAME_LENGTH = 120  # characters of a name that are kept; longer ones lose their middle
TEXT_LENGTH = 1200  # the same for a sentence
_WORDS = {"nan": "not a number", "inf": "infinite", "-inf": "minus infinite"}
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.?)", re.DOTALL)


def clean(text: object, limit: int = NAME_LENGTH) -> str:
    r"""Return text on one line without terminal escapes, control or direction characters, its middle cut at ``limit``.

    HTML is not escaped here: the template does that for everything it prints.

    >>> clean("net.0\x1b[31m\nweight\u202e")
    'net.0 weight'
    >>> clean("a" * 50, limit=9)
    'aaaa…aaaa'
    """
    raw = str(text)
    if len(raw) > 80 * limit:  # a book as a name: its ends are enough
        raw = f"{raw[: 40 * limit]} {raw[-40 * limit :]}"
    plain = " ".join(_ANSI.sub("", raw).split())
    plain = "".join(c for c in plain if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    if len(plain) <= limit:
        return plain
    half = (limit - 1) // 2
    return f"{plain[: limit - 1 - half]}…{plain[-half:]}"


def number(value: object) -> str:
    """Return a number with at most four significant digits; words stay words.

    >>> [number(v) for v in (0, 41200, 2.34567, 0.00012, 3.2e8, float("nan"), "inf")]
    ['0', '41,200', '2.346', '1.2e-4', '3.2e8', 'not a number', 'infinite']
    """
    if isinstance(value, str):
        return _WORDS.get(value, clean(value, TEXT_LENGTH))
    if isinstance(value, int):
        return f"{value:,}"
    x = float(value)  # type: ignore[arg-type]
    if not math.isfinite(x):
        return number(str(x))
    if x == 0:
        return "0"
    if 1e-3 <= abs(x) < 1e5:
        text = f"{x:,.4g}" if abs(x) < 1e4 else f"{x:,.0f}"
        return text.replace("-", "−")
    mantissa, _, exponent = f"{x:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def percent(value: float) -> str:
    """Return a share of 0 to 1 in percent, at most three significant digits.

    >>> percent(0.00782), percent(1.0), percent(0.0)
    ('0.782 %', '100 %', '0 %')
    """
    if not math.isfinite(value):
        return number(value)
    text = number(float(f"{100 * value:.3g}"))
    return f"{text} %"


def plural(count: int, noun: str) -> str:
    """Return ``1 check``, ``2 checks``.

    >>> plural(1, "check"), plural(1200, "check")
    ('1 check', '1,200 checks')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def sentence(text: str) -> str:
    """Return text with a capital first letter and a full stop.

    >>> sentence("the loss fell")
    'The loss fell.'
    """
    text = text.strip()
    end = "" if text.endswith((".", "!", "?", "…")) else "."
    return f"{text[:1].upper()}{text[1:]}{end}" if text else ""
