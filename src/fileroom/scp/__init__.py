"""DIMSE service classes: parse a request, call one archive service, send the answers."""
