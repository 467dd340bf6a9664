"""What settings of attacks may be; every refusal names the setting, its value and what was expected."""

from collections.abc import Collection


def check_interval(low: float, high: float, least: float, most: float, *, whole: bool = False) -> None:
    """Accept ``least <= low <= high <= most``, whole numbers only if ``whole``.

    Raises:
        ValueError: If a limit is no such number.
    """
    check_number("low", low, least, most, whole=whole)
    check_number("high", high, low, most, whole=whole)


def check_number(setting: str, value: float, least: float, most: float, *, whole: bool = False) -> None:
    """Accept a number from ``least`` to ``most``, a whole one only if ``whole``.

    Raises:
        ValueError: If ``value`` is anything else, a truth value or not-a-number included.
    """
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"setting {setting}={value!r}, expected {kind} from {least} to {most}")


def check_window(setting: str, value: int, least: int, most: int) -> None:
    """Accept an odd whole number from ``least`` to ``most``: the side of a window with a middle.

    Raises:
        ValueError: If ``value`` is anything else.
    """
    check_number(setting, value, least, most, whole=True)
    if value % 2 == 0:
        raise ValueError(f"setting {setting}={value}, expected an odd number, the side of a window with a middle")


def check_choice(setting: str, value: object, choices: Collection[str]) -> None:
    """Accept one of ``choices``.

    Raises:
        ValueError: If ``value`` is none of them.
    """
    if value not in choices:
        raise ValueError(f"setting {setting}={value!r}, expected one of {', '.join(choices)}")
