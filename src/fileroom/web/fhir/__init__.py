"""FHIR R4 for programs beside the PACS: patients, orders and studies, to read and to search. Plain JSON, no models.

Elements are those of FHIR 4.0.1; what imaging needs of them is said by IHE and by DICOM PS3.18 annex for ImagingStudy.
"""
