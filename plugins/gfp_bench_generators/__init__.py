"""The generators that gfp-bench brings: one module each, found by walking this package."""
