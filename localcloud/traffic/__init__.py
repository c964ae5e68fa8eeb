"""Traffic for endpoints: when requests arrive, and a client that sends them then, whatever the answers do."""
