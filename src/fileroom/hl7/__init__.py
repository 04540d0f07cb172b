"""HL7 version 2: frames (MLLP), messages, acknowledgements. Bytes in, values out; no socket, no clock.

What a message means for patients and orders is said in `feeds`.
"""
