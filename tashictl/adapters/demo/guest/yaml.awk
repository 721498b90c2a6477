# Flattens YAML to lines "/path/to/0<TAB>value", one for each scalar.
#
# It is no YAML reader: it knows the forms that tashictl writes into a seed and that people write
# by habit: block mappings and lists, plain and quoted scalars (folded over lines too), flow lists
# and mappings, so JSON as well. The text of block scalars (| and >) is left out. Anchors, tags and
# complex keys are not known.

BEGIN { depth = 0; open = 0; skip = -1 }
{ sub(/\r$/, "") }
/^(---|\.\.\.)( |$)/ { next }
{
  match($0, /[^ ]|$/)
  column = RSTART - 1
  if (skip >= 0 && (column > skip || /^ *$/)) next
  skip = -1
  if (open && unclosed(last)) { last = joined(last, substr($0, column + 1)); next }
  if (/^[ \t]*(#|$)/) next
  line(column, substr($0, column + 1))
}
END { flush() }

function line(at, text) {
  if (text ~ /^-( |$)/) item(at, text)
  else if (text ~ /^("[^"]*"|'[^']*'|[^]["'{}, ][^:]*):( |$)/) pair(at, text)
  else if (open) last = last " " text
  else keep(pending, text)
}

function item(at, text,    rest, here) {
  flush()
  while (depth && column_of[depth] > at) depth--
  if (!depth || column_of[depth] < at || kind[depth] == "map") push(at, "list")
  here = path[depth] "/" ++count[depth]
  rest = substr(text, 2)
  match(rest, /[^ ]|$/)
  rest = substr(rest, RSTART)
  pending = here
  if (rest == "") return
  if (rest ~ /^[|>][-+0-9]*$/) skip = at
  else line(at + RSTART, rest)
}

function pair(at, text,    key, rest, here) {
  flush()
  while (depth && (column_of[depth] > at || (column_of[depth] == at && kind[depth] == "list"))) depth--
  if (!depth || column_of[depth] < at) push(at, "map")
  if (text ~ /^["']/) {
    match(substr(text, 2), substr(text, 1, 1))
    key = substr(text, 2, RSTART - 1)
    rest = substr(text, RSTART + 2)
    sub(/^[^:]*:/, "", rest)
  } else {
    match(text, /:( |$)/)
    key = substr(text, 1, RSTART - 1)
    rest = substr(text, RSTART + 1)
  }
  sub(/^ +/, "", rest)
  here = path[depth] "/" key
  pending = here
  if (rest == "" || rest ~ /^#/) return
  if (rest ~ /^[|>][-+0-9]*$/) skip = at
  else keep(here, rest)
}

function push(at, what) {
  depth++
  column_of[depth] = at
  kind[depth] = what
  path[depth] = depth == 1 ? "" : pending
  count[depth] = -1
}

function keep(where, text) { open = 1; at_path = where; last = text }

# A line end is a space, but for an escaped one.
function joined(text, more) {
  if (text ~ /^".*\\$/) return substr(text, 1, length(text) - 1) more
  return text " " more
}

# A quoted scalar or a flow value goes on until it ends.
function unclosed(text,    first, bare) {
  first = substr(text, 1, 1)
  if (first == "\"" || first == "'")
    return text !~ /^("([^"\\]|\\.)*"|'([^']|'')*')( *| +#.*)$/
  if (first != "[" && first != "{") return 0
  bare = text
  gsub(/"([^"\\]|\\.)*"|'[^']*'/, "", bare)
  return gsub(/[[{]/, "", bare) > gsub(/[]}]/, "", bare)
}

function flush(    first) {
  if (!open) return
  open = 0
  first = substr(last, 1, 1)
  source = last
  place = 1
  if (first == "[" || first == "{") flow(at_path)
  else if (first == "\"" || first == "'") print at_path "\t" word(0)
  else { sub(/ +#.*$/, "", last); sub(/ +$/, "", last); print at_path "\t" last }
}

function blanks() { while (substr(source, place, 1) == " ") place++ }

function flow(where,    char, i, key, started) {
  blanks()
  char = substr(source, place, 1)
  if (char != "[" && char != "{") { print where "\t" word(0); return }
  place++
  for (i = 0; ; i++) {
    blanks()
    while (substr(source, place, 1) == ",") { place++; blanks() }
    if (place > length(source) || index("]}", substr(source, place, 1))) { place++; return }
    started = place
    if (char == "{") {
      key = word(1)
      blanks()
      if (substr(source, place, 1) == ":") place++
    } else key = i
    flow(where "/" key)
    if (place == started) place++
  }
}

# The scalar at `place`: quoted, or plain up to the end of the value (of the key, where it is one).
function word(is_key,    quote, char, text) {
  quote = substr(source, place, 1)
  if (quote != "\"" && quote != "'") {
    match(substr(source, place), is_key ? "[]:,}]|$" : "[],}]|$")
    text = substr(source, place, RSTART - 1)
    place += RSTART - 1
    sub(/ +$/, "", text)
    return text
  }
  for (place++; place <= length(source); place++) {
    char = substr(source, place, 1)
    if (char == "\\" && quote == "\"") char = substr(source, ++place, 1)
    else if (char == quote) {
      if (quote == "\"" || substr(source, place + 1, 1) != quote) break
      place++
    }
    text = text char
  }
  place++
  return text
}
