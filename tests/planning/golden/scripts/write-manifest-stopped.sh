[ -e "$D/manifest.json" ] || exit 0
put "$D/manifest.json" 640 '{"uuid":"7c1e0000-0000-4000-8000-000000000001","generation":1,"name":"it'"'"'s"}' || echo 'the manifest stays as it is'
