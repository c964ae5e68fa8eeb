"""An example of `slipway init`: which of three growers a wine comes from, by thirteen chemical measurements."""
