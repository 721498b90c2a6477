[ -e /var/lib/tashi/shared/images/data.img ] || die "no image "/var/lib/tashi/shared/images/data.img
within /var/lib/tashi/shared/images/data.img /var/lib/tashi/shared/images \
  || die /var/lib/tashi/shared/images/data.img" leads out of the image folder"
