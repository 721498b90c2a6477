"""The demo image: a tiny guest that boots in seconds, obeys SSH and reads a NoCloud seed."""
