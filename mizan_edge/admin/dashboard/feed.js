// The latest purges of the fleet.

import { chips, h, hint, show, table } from "./dom.js"
import { clock, count, name, time } from "./format.js"

const SHOWN = 4

/** Shows the audit, newest first. */
export function showFeed(root, { purges }) {
  if (!purges.length) return show(root, hint("Nothing has been purged yet."))
  const rows = purges.map((purge) => [
    h("time", { datetime: purge.at, title: purge.at }, clock(Date.parse(purge.at))),
    [what(purge), h("span", { class: "hint" }, who(purge))],
    { number: count(purge.entries) },
    { number: acknowledged(purge.acknowledged_ms) },
  ])
  show(root, table("Of all edges, newest first", ["When", "What, and for whom", { number: "Entries" }, { number: "All knew after" }], rows))
}

const acknowledged = (ms) => (ms === 0 ? "under 1 ms" : time(ms === null ? null : ms / 1000))

function what({ scopes, scope_count: all }) {
  const named = scopes.slice(0, SHOWN).map((scope) => (scope === "*" ? "everything" : scope))
  const more = all - named.length
  return chips(more > 0 ? [...named, `and ${count(more)} more`] : named)
}

function who({ source, request, function: called, token, edge, host, note }) {
  const asked = [called ?? request, token && `with the ${token} token`].filter(Boolean).join(" ")
  return [source, asked, edge && `edge ${name(edge)}`, edge ? "" : host, note].filter(Boolean).join(" · ")
}
