"""The archive's services: store, query, retrieve, correct, delete, commit, import, export, rebuild, verify."""
