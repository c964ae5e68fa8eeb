"""An example of `slipway init`: which shape a sound wave has."""
