"""All per-region models of a run: fitted, back-tested and scored in parallel, failure by failure."""
