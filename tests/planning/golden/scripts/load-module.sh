modprobe 8021q
