"""`make demo`: an operator's first evening, on lab hosts that it makes."""
