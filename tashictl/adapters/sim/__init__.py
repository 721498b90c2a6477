"""The simulated world of the tests: hosts, the network to them, time, and what goes wrong there.

Everything happens in virtual time and by the choices of one seed, so that a run can be repeated.
"""
