"""The DIMSE messages of PS3.7 without I/O: command sets, message assembly, status codes."""
