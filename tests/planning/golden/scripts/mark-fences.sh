printf '%-119.119s\n' "$C $EPOCH ${hk:-0} ${hu:-host} $WHO" 1<>"$L/cluster" \
  || die "$L/cluster cannot be written"
flock -u 7
n=0; k=${hk:-0}
for f in "$L/$C/fence"/*; do
  [ -f "$f" ] || continue
  exec 9>>"$f"; flock -w "$WAIT" 9 || die "a script still holds $f"
  fe=; fo=; read -r fe fo fa fs <"$f"
  [ "${fe:-0}" -le "$EPOCH" ] || die "$f knows epoch $fe"
  if [ "${fe:-0}" -lt "$EPOCH" ]; then
    printf '%-79s\n' "$EPOCH 0 0 rebuilt" 1<>"$f" || die "$f cannot be written"
  fi
  [ "${fo:-0}" -le "$k" ] || k=$fo
  exec 9>&-; n=$((n+1))
done
say D fences "$n"; say D counter "$k" 
