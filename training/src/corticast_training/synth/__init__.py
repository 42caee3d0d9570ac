"""A synthetic movie-watching data set with known truth."""
