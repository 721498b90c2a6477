"""The state database: one protocol (`tashictl.ops.ports.Store`), its back end on TinyDB."""
