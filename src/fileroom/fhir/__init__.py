"""FHIR R4 for programs beside the PACS: patients, orders, studies, reports, the audit trail; to read, to search, to be told.

One file for each kind of resource: how it is searched and how it is written as JSON. `search` answers a question,
`subscriptions` and `notices` tell others of changes. Elements are those of FHIR 4.0.1.
"""
