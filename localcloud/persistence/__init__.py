"""What survives the server: a journal of what was asked of moto, and a snapshot of hosting and scaling."""
