"""The administration API at `/api/v1`, its OpenAPI document and its own page of documentation.

A FastAPI application that is made when it is first asked for: neither commands nor DICOMweb load it. Each resource is a file;
every operation calls the service function that the page and the command call, in the name of whoever the request is from.
"""
