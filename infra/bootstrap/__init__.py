"""What a repository needs of an account once: state, key, and roles that its jobs take. A Pulumi project of its own."""
