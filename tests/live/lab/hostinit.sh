#!/bin/sh
# First process of a lab host, until busybox init takes over.
# usage: hostinit.sh MARK NAME DISK SHARED      (SHARED may be empty)
#   MARK    source name of every mount, so that leftovers can be found
#   DISK    folder with upper/ and work/ of the root overlay and root/ to mount it on; where the host
#           has a small disk of its own for /var/lib/tashi, that is DISK-tashi/data
# Runs in fresh mount, uts, ipc, pid and net namespaces; all that it mounts goes with them.
set -eu
mark=$1 name=$2 disk=$3 shared=$4
root=$disk/root
hostname "$name"

# After a power cut the kernel may still be taking down the overlay of the last boot.
tries=0
until mount -t overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$mark" "$root"; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || exit 1
  sleep 0.02
done

mount -t proc "$mark" "$root/proc"
mount -t sysfs "$mark" "$root/sys"
mount -t tmpfs -o mode=755 "$mark" "$root/run"
mount -t tmpfs -o mode=1777 "$mark" "$root/tmp"
mkdir "$root/run/sshd" "$root/run/lock"
chmod 1777 "$root/run/lock"

# A /dev with no kvm: a host that pretends to have it is a test of its own.
dev=$root/dev
mount -t tmpfs -o mode=755,size=1m "$mark" "$dev"
mkdir "$dev/pts" "$dev/shm" "$dev/net"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 "$mark" "$dev/pts"
mount -t tmpfs -o mode=1777 "$mark" "$dev/shm"
umask 0
mknod "$dev/null" c 1 3
mknod "$dev/zero" c 1 5
mknod "$dev/full" c 1 7
mknod "$dev/random" c 1 8
mknod "$dev/urandom" c 1 9
mknod "$dev/tty" c 5 0
mknod "$dev/net/tun" c 10 200
umask 022
ln -s pts/ptmx "$dev/ptmx"
ln -s /proc/self/fd "$dev/fd"
ln -s fd/0 "$dev/stdin"
ln -s fd/1 "$dev/stdout"
ln -s fd/2 "$dev/stderr"

# All hosts share a kernel; each boot shows a boot id of its own all the same.
cat "$root/proc/sys/kernel/random/uuid" > "$dev/.boot_id"
mount --bind "$dev/.boot_id" "$root/proc/sys/kernel/random/boot_id"

if [ -d "$disk-tashi/data" ]; then
  mkdir -p "$root/var/lib/tashi"
  mount --bind "$disk-tashi/data" "$root/var/lib/tashi"
fi
if [ -n "$shared" ]; then
  mkdir -p "$root/srv/shared"
  mount --bind "$shared" "$root/srv/shared"
fi

cd "$root"
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
exec /bin/busybox init < /dev/null
