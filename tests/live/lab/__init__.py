"""The lab of the live tests: hosts in namespaces, a tiny guest image, a cluster made of them."""
