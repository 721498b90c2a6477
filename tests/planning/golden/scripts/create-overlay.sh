[ ! -e /var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2 ] || { echo 'is there already'; exit 0; }
[ -e '/var/lib/tashi/shared/images/a b.qcow2' ] || die "no image "'/var/lib/tashi/shared/images/a b.qcow2'
within '/var/lib/tashi/shared/images/a b.qcow2' /var/lib/tashi/shared/images || die '/var/lib/tashi/shared/images/a b.qcow2'" leads out of the image folder"
rm -f /var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2.part
qemu-img create -q -f qcow2 -F qcow2 -b '/var/lib/tashi/shared/images/a b.qcow2' /var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2.part 2>&1 \
  || { rm -f /var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2.part; exit 1; }
ln /var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2.part /var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2 && rm -f /var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2.part
