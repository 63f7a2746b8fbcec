"""Models of one region at a time, one file each; `registry` builds them by name."""
