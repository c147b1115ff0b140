"""`linewatch doctor` and `linewatch support-bundle`: what this host lacks, and what that costs.

One module a subject: a function that looks gives facts, a pure function judges them.
"""
