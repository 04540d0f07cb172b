"""Fileroom: an open PACS, and the desk of the person who runs it.

The rooms, lowest first: core; dicom, ul; dimse, dicomweb; pixels; db, storage, net; tasks; index, admin; archive;
scp, web; app; cli. A room imports only rooms on lower rows (docs/architecture.md).
"""

__version__ = "0.1.0"
