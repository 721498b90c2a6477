has() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = 9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a ]; }
if [ -e /var/lib/tashi/shared/images/a.img ]; then
  has /var/lib/tashi/shared/images/a.img || die /var/lib/tashi/shared/images/a.img' is there with other content'
  rm -f /var/lib/tashi/shared/images/a.img.part; exit 0
fi
has /var/lib/tashi/shared/images/a.img.part || die /var/lib/tashi/shared/images/a.img.part' has not the expected sha256'
sync /var/lib/tashi/shared/images/a.img.part && mv -f /var/lib/tashi/shared/images/a.img.part /var/lib/tashi/shared/images/a.img
