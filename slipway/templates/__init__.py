"""What `slipway init` copies: one folder a task, each a small model that trains in seconds on data that is at hand.

The spec of each is `spec.yaml`, with `$name`, `$package` and `$folder` to fill in.
"""
