"""FHIR R4 over HTTP: addresses, forms and answers. What is found and how resources are written is `fileroom.fhir`'s."""
