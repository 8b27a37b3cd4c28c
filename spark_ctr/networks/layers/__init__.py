"""Parts of networks: one layer or block a module."""
