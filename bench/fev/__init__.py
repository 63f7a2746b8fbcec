"""fev-bench's protocol for panels, without Spark: rolling windows, scaled losses, published figures beside ours."""
