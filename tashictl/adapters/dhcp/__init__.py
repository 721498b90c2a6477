"""DHCP servers: ISC dhcpd by OMAPI."""
