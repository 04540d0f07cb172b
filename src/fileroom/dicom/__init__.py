"""The DICOM data set without I/O: UID tables, header scan, character sets, matching, the JSON and XML models."""
