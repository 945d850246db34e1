// Who takes part: edges and their leases.

import { h, hint, show, table } from "./dom.js"
import { name, several, time } from "./format.js"

/** Shows the edges on the same Redis. */
export function showFleet(root, { edge, members }) {
  if (!members) return show(root, hint("Redis does not say who takes part now. Without a lease, an edge serves nothing from the cache."))
  const rows = members.edges.map(({ id, left_ms }) => [
    h("code", { title: id }, name(id)),
    id === edge ? "this one" : "",
    left_ms > 0
      ? h("span", { class: "badge good" }, "has a lease")
      : h("span", { class: "badge bad" }, "lapsed: it may have purges that nobody knows of"),
    { number: left_ms > 0 ? time(left_ms / 1000) : "–" },
  ])
  show(
    root,
    table("Each renews its lease twice a second, and may use the cache only with one.", ["Edge", "", "Lease", { number: "Left" }], rows),
    hint(`A purge waits until ${several(members.sessions.length, "session has", "sessions have")} acknowledged it, or their leases are over.`),
  )
}
