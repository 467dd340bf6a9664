"""What settings of methods may be; every refusal names the method, the setting, its value and what was expected."""

from collections.abc import Collection


def check_choice(method: str, setting: str, value: object, choices: Collection[object]) -> None:
    """Accept one of ``choices``.

    Raises:
        ValueError: If ``value`` is none of them.
    """
    if value not in choices:
        raise ValueError(f"setting {setting!r} of {method!r} got {value!r}, expected {' or '.join(map(repr, choices))}")


def check_positive(method: str, setting: str, value: float) -> None:
    """Accept a number above 0.

    Raises:
        ValueError: If ``value`` is not above 0.
    """
    if not value > 0:
        raise ValueError(f"setting {setting!r} of {method!r} got {value!r}, expected a number above 0")
