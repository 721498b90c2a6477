e=; [ -s /var/lib/tashi/0123456789ab/replica/head ] && read -r e g _ </var/lib/tashi/0123456789ab/replica/head
if [ -n "$e" ] && { [ "$e" -gt 2 ] \
  || { [ "$e" -eq 2 ] && [ "$g" -gt 41 ]; }; }; then
  die "a newer replica is there: epoch $e, generation $g"
fi
mkdir -p /var/lib/tashi/0123456789ab/replica && chmod 700 /var/lib/tashi/0123456789ab/replica
