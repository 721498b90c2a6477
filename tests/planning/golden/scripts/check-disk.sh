[ -f /var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2 ] || die 'a disk of the VM is gone: '/var/lib/tashi/0123456789ab/7c1e0000-0000-4000-8000-000000000001/disk0.qcow2
