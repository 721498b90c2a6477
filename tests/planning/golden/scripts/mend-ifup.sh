if [ -e /etc/qemu-ifup.1 ] && ! grep -qF '# rendered by tashictl' /etc/qemu-ifup.1; then
  echo "the operator's own file"; exit 0
fi
put /etc/qemu-ifup.1 755 '#!/bin/sh
# rendered by tashictl
ip "$1"' && chmod 755 /etc/qemu-ifup.1
