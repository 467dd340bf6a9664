"""What settings and pools may be; every refusal names the generator, the value and what was expected."""

from gfp_bench import Images, UsageError


def check_number(generator: str, setting: str, value: float, least: float, most: float) -> None:
    """Accept a number from ``least`` to ``most``.

    Raises:
        UsageError: If ``value`` is anything else.
    """
    if not least <= value <= most:
        raise UsageError(f"setting {setting!r} of {generator!r} is {value}, expected a number from {least} to {most}")


def check_pool(generator: str, pool: Images, batch: int) -> None:
    """Accept at least one batch of square images.

    Raises:
        UsageError: If ``pool`` is anything else.
    """
    if len(pool) < batch or pool.shape[2] != pool.shape[3]:
        raise UsageError(
            f"the pool of {generator!r} has shape {tuple(pool.shape)}, expected at least {batch} square images, "
            "one batch; add images or lower `batch`"
        )
