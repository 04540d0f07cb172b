"""HTTP: DICOMweb and health; parse a request, call one archive service, render."""
