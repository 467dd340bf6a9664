"""Which plugins there are: hooks, discovery, names."""
