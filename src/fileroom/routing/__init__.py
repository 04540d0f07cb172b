"""Routing: which objects go where, when, how they are changed on the way, and the proof that they arrived.

rules -> planned deliveries (in the transaction that stores the object) -> parcels -> lanes -> a destination's session
"""
