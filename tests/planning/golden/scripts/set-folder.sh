mkdir -p /var/lib/tashi/shared/images && chmod a+x /var/lib/tashi/shared/images
