"""An example of `slipway init`: whether a request to a help desk is about money, delivery or an account."""
