e=; [ -s /var/lib/tashi/0123456789ab/replica/head ] && read -r e g _ </var/lib/tashi/0123456789ab/replica/head
if [ -n "$e" ] && { [ "$e" -gt 2 ] \
  || { [ "$e" -eq 2 ] && [ "$g" -gt 41 ]; }; }; then
  die "a newer replica is there: epoch $e, generation $g"
fi
new=/var/lib/tashi/0123456789ab/replica/.state.json.part
if ! cat /var/lib/tashi/0123456789ab/replica/state.json.part >"$new" || [ "$(sha256sum <"$new" | cut -d' ' -f1)" != 9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a ]; then
  rm -f "$new" /var/lib/tashi/0123456789ab/replica/state.json.part; die 'the replica did not arrive whole'
fi
chmod 600 "$new" && sync "$new" && mv -f "$new" /var/lib/tashi/0123456789ab/replica/state.json || { rm -f "$new"; exit 1; }
put /var/lib/tashi/0123456789ab/replica/head 600 '2 41 0011223344556677' && rm -f /var/lib/tashi/0123456789ab/replica/state.json.part
