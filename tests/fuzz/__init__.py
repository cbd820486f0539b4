"""Generators of bad input, and what is promised about it: no 500, no hang, bounded memory, one reading of a length.

``make fuzz`` runs the long profiles; ``python -m tests.fuzz --help`` runs one with a count and seed of your choice.
The tests beside run a short one.
"""
