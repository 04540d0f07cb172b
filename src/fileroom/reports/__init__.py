"""Reports: what was found in a study, in versions; where they come from and what is made of them.

A report is written in the console, or comes by a feed or as an object of the archive. What was signed is never changed: an
addendum or a correction is a version of its own.
"""
