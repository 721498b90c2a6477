rm -f /var/lib/tashi/shared/images/a.img.part
