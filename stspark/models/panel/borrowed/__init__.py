"""Cold start: what a region with little history borrows from the others."""
