"""Training of the networks: one loop for every rank, kept on disk; only `launch` and `train` know of Spark."""
