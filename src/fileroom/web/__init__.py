"""HTTP: DICOMweb, health and the first page. Every route parses a request, calls one archive service and renders.

`web.app` makes the application, `web.endpoint` runs one request, `web.answers` holds what an answer is made of,
`web.errors` maps our errors to status codes, `web.guard` stands in front of everything.
"""
