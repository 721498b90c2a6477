"""The world: one module per neighbour, each fitting a port; raises only our errors."""
