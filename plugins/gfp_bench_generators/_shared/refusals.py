"""What pools may be; every refusal names the generator, the value and what was expected."""

from gfp_bench import Images, UsageError


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
