"""The face: parse, wire, print, exit."""
