"""What settings of attacks must have in common; every refusal names them, their values and what was expected."""


def check_order(**ends: float) -> None:
    """Accept the two ends of a range, given by their names, the lower one first.

    Raises:
        ValueError: If the first one is above the second.
    """
    (first, low), (second, high) = ends.items()
    if low > high:
        raise ValueError(f"settings {first}={low!r} and {second}={high!r} are no range, expected {first} <= {second}")


def check_odd(**sides: int) -> None:
    """Accept odd numbers, given by their names: sides of windows with a middle.

    Raises:
        ValueError: If one is even.
    """
    for name, side in sides.items():
        if side % 2 == 0:
            raise ValueError(f"setting {name}={side}, expected an odd number, the side of a window with a middle")
