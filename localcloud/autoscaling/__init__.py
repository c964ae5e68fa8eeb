"""Application Auto Scaling for endpoint variants: what is registered, what the rules decide, and the doing of it."""
