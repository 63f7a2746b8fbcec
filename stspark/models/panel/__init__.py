"""Models of all regions together that are fitted in one process (the networks, trained by ranks, are in deep/)."""
