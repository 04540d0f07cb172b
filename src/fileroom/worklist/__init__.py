"""Patients, visits, orders and scheduled procedure steps as the RIS tells them; what modalities perform; which images meet
which order.

What a message of the RIS means is a `Change` (`changes.py`); `apply_change` writes it with its effects in the caller's
transaction. The modality worklist, the exceptions queue and the pages read the same rows.
"""
