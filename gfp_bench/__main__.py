"""`python -m gfp_bench` is `gfp-bench`."""

from gfp_bench.cli import main

if __name__ == "__main__":
    main()
