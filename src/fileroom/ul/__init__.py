"""The upper layer of PS3.8 without I/O: PDUs, the state machine, negotiation."""
