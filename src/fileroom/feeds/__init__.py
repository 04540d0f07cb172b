"""HL7 feeds: the inbox and the outbox, how the messages of each sender are read, and what they did.

`receive_message` keeps a message and applies its changes (`worklist`) in one transaction, and only then is it acknowledged.
"""
