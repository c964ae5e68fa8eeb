"""A handler without its one function."""


def predict_fn(data, model): ...
