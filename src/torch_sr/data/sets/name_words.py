"""Words in names of folders and files that mean high or low resolution.

Known pairs of words are ``HR`` and ``LR``, ``GT`` and ``LQ``, ``hq`` and ``lq``, ``high`` and
``low``, ``target`` and ``input``, ``clean`` and ``noisy``, ``sharp`` and ``blur``, in any case,
alone or as part of a name (``trainHR`` and ``trainLR``, ``baby_HR.png`` and ``baby_LR.png``).
"""

from __future__ import annotations

import re

_HIGH = (
    "hr|gt|hq|hd|high|hi[ _-]?res|target|clean|sharp|original|reference|ref|label|ground[ _-]?truth"
)
_LOW = "lr|lq|ld|low|lo[ _-]?res|input|source|noisy|blurry|blurred|blur|degraded|distorted"
_PART = r"(?:^|(?<=[\W_\d])|(?<=train)|(?<=test)|(?<=val)|(?<=valid))"
_END = r"(?:[ _-]?res(?:olution)?|[ _-]?quality|mod\d+|s|[ _-]?images?)?(?=$|[\W_\d]|bic|x\d)"
"""What may precede and follow such a word in a name."""
_FACTOR = r"x\d{1,2}(?:m|d|w\d?)?"  # DIV2K's mild, difficult, wild
_FILTER = "bicubic|bicub|bic|bilinear|lanczos|nearest|downsampled|downscaled|down|small"
_EXTRA = re.compile(
    rf"(?<=.)[\W_](?:{_FACTOR}|\d{{1,2}}x|{_FILTER})(?=$|[\W_])|(?<=[a-z\d*]){_FACTOR}$"
)
_FACTOR_OF = re.compile(
    r"(?<=.)(?:(?:[\W_]|(?<=[a-z\d]))x(\d{1,2})(?:m|d|w\d?)?|[\W_](\d{1,2})x)(?=$|[\W_])"
)
_BRACKETS = " _.-()[]*"


def role_of(name: str) -> tuple[str, str] | None:
    """Whether a name means high or low resolution.

    Returns:
        ``"high"`` or ``"low"``, and the name with ``*`` in place of that word; None for neither.

    >>> role_of("train_HR"), role_of("trainLR_bicubic"), role_of("Targets"), role_of("slow")
    (('high', 'train*'), ('low', 'train*_bicubic'), ('high', '*'), None)
    """
    plain = _plain(name)
    for role, words in (("low", _LOW), ("high", _HIGH)):
        match = re.search(f"{_PART}(?:{words}){_END}", plain)
        if match:
            return role, (plain[: match.start()] + "*" + plain[match.end() :]).replace("_*", "*")
    return None


def is_low(name: str) -> bool:
    """Whether the name of a file means low resolution: by a word, a factor or a filter.

    >>> is_low("baby_LR"), is_low("babyx4"), is_low("baby(lq)"), is_low("baby"), is_low("baby_HR")
    (True, True, True, False, False)
    """
    role = role_of(name)
    return role[0] == "low" if role else image_key(name) != _plain(name).strip(_BRACKETS)


def image_key(name: str) -> str:
    """The part of the name that the high and the low resolution of an image share.

    >>> {image_key(name) for name in ("baby", "baby_HR", "LR_baby", "baby(lq)", "baby-x4")}
    {'baby'}
    >>> image_key("hr0001"), image_key("0001_LRBI_x4"), image_key("HR"), image_key("LRx4")
    ('0001', '0001', '*', '*')
    """
    plain = re.sub(r"(?<=[\W_])lrbi(?=$|[\W_])", "lr", _plain(name))
    role = role_of(plain)
    rest = role[1] if role else plain
    while (shorter := _EXTRA.sub("", rest).strip(_BRACKETS)) != rest:
        rest = shorter
    return re.sub(r"[\W_]*\*[\W_]*", "_", rest) or ("*" if role else plain)


def factor_of(name: str) -> int | None:
    """The scale factor in the name of a file; None if there is none.

    >>> factor_of("baby_x4"), factor_of("0001x8"), factor_of("baby_LRx2"), factor_of("baby")
    (4, 8, 2, None)
    """
    found = _FACTOR_OF.findall(_plain(name))
    return int(found[-1][0] or found[-1][1]) if found else None


def _plain(name: str) -> str:
    """A name in lower case with separated words: ``train_hr`` for ``trainHR``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z])", "_", name).lower()
