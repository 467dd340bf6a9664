"""Protocol documents, the fixed recipes of the benchmark, and their reader."""
