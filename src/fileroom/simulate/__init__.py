"""A hospital that is not there: a RIS, modalities and their patients, for tests, for the demo, for training.

Everything follows from a seed: who comes, what is ordered, what goes wrong (`plan`). `run` plays the plan against a Fileroom
over HL7 and DICOM as strangers would, and `truth` says what must be true in it afterwards. Nothing here reads Fileroom's rows.
"""
