"""Numbers from scores and features."""
