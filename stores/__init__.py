"""Where files are kept by name: a folder, or a bucket of a cloud."""
