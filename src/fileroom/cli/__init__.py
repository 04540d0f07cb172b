"""The fileroom command."""
