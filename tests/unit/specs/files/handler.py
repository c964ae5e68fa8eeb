"""A handler of one's own."""


def model_fn(model_dir): ...
