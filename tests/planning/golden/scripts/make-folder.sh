mkdir -p /var/lib/tashi/shared/images/sub
