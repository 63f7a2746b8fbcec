class Broken:
    """A stub."""
    name="broken"; min_length=1; carries_forward=False
    def fit(self, history):
        raise RuntimeError("no luck")
    def predict(self, parameters, history, future, quantiles):
        raise AssertionError
