"""Tasks: which fits, which cells, which metrics. A protocol names its task."""
