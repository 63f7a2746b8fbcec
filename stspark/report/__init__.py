"""The report: one self-contained page per run, for people who never see Spark."""
