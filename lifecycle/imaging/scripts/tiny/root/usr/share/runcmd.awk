# cloud-config in, shell script out: the items of runcmd, which are strings (plain, quoted, or a block after "|") or
# flow lists of words. An item that is a block list is not understood and left out.
function unquoted(text,   first) {
  first = substr(text, 1, 1)
  if (length(text) < 2 || (first != "'" && first != "\"") || substr(text, length(text)) != first) return text
  text = substr(text, 2, length(text) - 2)
  if (first == "'") gsub("''", "'", text)
  else { gsub(/\\"/, "\"", text); gsub(/\\\\/, "\\", text) }
  return text
}
function shell_word(text) { gsub("'", "'\\''", text); return "'" text "'" }
# Splits at commas outside of quotes.
function flow_list(text,   i, c, quote, word, out) {
  text = substr(text, 2, length(text) - 2) ","
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (quote == "" && c == ",") {
      gsub(/^ +| +$/, "", word); out = out shell_word(unquoted(word)) " "; word = ""
      continue
    }
    if (quote != "" && c == quote) quote = ""
    else if (quote == "" && (c == "'" || c == "\"")) quote = c
    word = word c
  }
  return out
}
/^runcmd:/ { inside = 1; next }
/^[^ #-]/ { inside = 0 }
!inside { next }
block && (match($0, /^ */) && RLENGTH > depth || /^ *$/) {
  if (RLENGTH > depth) { if (!margin) margin = RLENGTH; print substr($0, margin + 1) }
  next
}
{ block = 0 }
/^ *- / {
  match($0, /^ */); depth = RLENGTH; margin = 0
  item = $0; sub(/^ *- +/, "", item); sub(/ +$/, "", item)
  if (item ~ /^[|>][-+]?$/) block = 1
  else if (item ~ /^\[.*\]$/) print flow_list(item)
  else print unquoted(item)
}
