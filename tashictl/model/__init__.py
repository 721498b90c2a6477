"""Nouns: what a cluster is made of, as frozen values with arithmetic and legal changes."""
