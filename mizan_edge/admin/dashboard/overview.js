// How things are, in a few figures.

import { h, show } from "./dom.js"
import { count, name, percent, rate, several, span, time } from "./format.js"
import { ALL, NOWHERE, outcomesOf, ratio, requests } from "./traffic.js"

/** How the cache is, and in which words. */
export function stateOf(live) {
  return live.hold.length ? ["warn", `The cache is held: ${live.hold.join(", ")}`] : ["good", "The cache is in use"]
}

/** Shows the figures of now. */
export function showOverview(root, live, { all, last }) {
  const declared = outcomesOf(last, ALL)
  const beside = requests(outcomesOf(last, NOWHERE))
  const perSecond = (number) => (last ? rate(number / last.seconds) : "–")
  const hits = last?.contexts[ALL]?.hits
  const since = (name) => (last ? last[name] - all[0][name] : 0)
  show(
    root,
    tile("Hit ratio", percent(ratio(declared)), "of what the cache was asked for, in half a minute"),
    tile("Requests a second", perSecond(requests(declared) + beside), `${perSecond(beside)} of them undeclared`),
    tile("A hit takes", time(hits?.p50 ?? null), `95 % below ${time(hits?.p95 ?? null)}`),
    tile("The origin takes", time(last?.origin?.p50 ?? null), `95 % below ${time(last?.origin?.p95 ?? null)}`),
    tile("Purges here", count(since("purges")), `${several(since("purged_entries"), "entry", "entries")}, in 15 minutes`),
    tile("Edges", ...fleet(live)),
  )
}

function fleet({ members, edge, started_ms: started, now_ms: now }) {
  if (!members) return ["–", "Redis does not say"]
  const lapsed = members.edges.filter(({ left_ms: left }) => left <= 0).length
  const here = `this one: ${name(edge)}, for ${span((now - started) / 1000)}`
  return [count(members.edges.length), lapsed ? `${lapsed} without a lease` : here]
}

function tile(term, figure, note) {
  return h("dl", { class: "tile" }, h("dt", {}, term), h("dd", {}, figure), h("dd", { class: "note" }, note))
}
