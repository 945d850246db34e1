// What is asked for most.

import { h, hint, show, svg, table } from "./dom.js"
import { percent, rate } from "./format.js"

const SHOWN = 20

/** Shows the URLs that are asked for most, of all workers. */
export function showTop(root, { top }) {
  if (!top.length) return show(root, hint("Nothing has been asked for yet."))
  const most = top[0].per_minute
  const rows = top.slice(0, SHOWN).map(({ url, per_minute: all, hits_per_minute: hits }) => [
    [h("code", {}, url), bar(all / most)],
    { number: rate(all) },
    { number: percent(hits / all) },
  ])
  show(root, table("An estimate, of the last two to four minutes", ["URL", { number: "A minute" }, { number: "Hits" }], rows))
}

function bar(share) {
  return svg(
    "svg",
    { class: "bar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { width: 100, height: 4, rx: 1 }),
    svg("rect", { width: Math.max(1, share * 100), height: 4, rx: 1 }),
  )
}
