"""An example of `slipway init`: which digit a small grey picture shows."""
