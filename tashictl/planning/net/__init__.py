"""Networks of hosts: what is wanted, what is there, and the way from one to the other."""
