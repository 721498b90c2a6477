"""What `doctor` looks at, how an answer is read, what is wrong with it, and what may be mended."""
