"""DNS: dynamic updates (RFC 2136), transfers (RFC 5936), and the keys that sign them."""
