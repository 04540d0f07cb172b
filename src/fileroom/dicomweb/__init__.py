"""The words of PS3.18 without I/O: query strings, multipart bodies, media types."""
