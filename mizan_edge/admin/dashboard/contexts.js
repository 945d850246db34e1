// What the manifest declares, how it does, and its switches.

import { h, hint, show, table } from "./dom.js"
import { clock, count, percent, rate } from "./format.js"
import { outcomesOf, ratio, requests } from "./traffic.js"

const DIFFERENCES = 10

/** The contexts, of all that several sources tell of them. */
export class Contexts {
  #root
  #session
  #changed
  #problem = h("p", { class: "problem", role: "alert" })
  #body = h("div")
  #known = { manifest: null, told: null, untold: "", shadow: null, may: false, last: null }
  #shown = ""

  /** @param {() => void} changed is called when one was switched */
  constructor(root, session, changed) {
    this.#root = root
    this.#session = session
    this.#changed = changed
    root.append(this.#body, this.#problem)
  }

  /** Whether the token may switch. */
  allow(may) {
    this.#learn({ may })
  }

  use(manifest) {
    this.#learn({ manifest })
  }

  /** What `GET /contexts` says. */
  told({ contexts }) {
    this.#learn({ told: contexts, untold: "" })
  }

  untold(problem) {
    this.#learn({ told: null, untold: problem.status === 404 ? "Switches are not available on this edge." : problem.message })
  }

  /** What `GET /shadow` says; null where it says nothing. */
  shadowed(shadow) {
    this.#learn({ shadow })
  }

  /** What was counted last. */
  measured({ last }) {
    this.#learn({ last })
  }

  #learn(more) {
    Object.assign(this.#known, more)
    const { last, ...rest } = this.#known
    const state = JSON.stringify([rest, last?.number])
    if (state === this.#shown || !this.#known.manifest) return // what is about to be pressed stays
    this.#shown = state
    const focused = this.#root.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null
    const { manifest, untold, shadow } = this.#known
    const rows = Object.entries(manifest.contexts).map(([name, context]) => this.#row(name, context))
    const headings = ["Context", "For", "Parameters", { number: "Entries" }, { number: "Requests a second" }, { number: "Hits" }, "Cache", "Compared with the origin"]
    show(this.#body, table("What the manifest declares; requests and hits of the last half minute", headings, rows), untold && hint(untold), differences(shadow))
    if (focused) this.#root.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus()
  }

  #row(name, { scope, params }) {
    const { told, last, shadow } = this.#known
    const outcomes = outcomesOf(last, name)
    return [
      h("code", {}, name),
      scope === "public" ? "everybody" : "each user",
      h("code", {}, params.join(", ")),
      { number: typeof told?.[name]?.entries === "number" ? count(told[name].entries) : "–" },
      { number: last ? rate(requests(outcomes) / last.seconds) : "–" },
      { number: percent(ratio(outcomes)) },
      told?.[name] ? this.#switch(name, told[name].enabled) : "–",
      compared(shadow?.contexts[name]),
    ]
  }

  #switch(name, enabled) {
    const press = async ({ currentTarget }) => {
      currentTarget.disabled = true
      this.#problem.textContent = ""
      try {
        await this.#session.post(`/contexts/${encodeURIComponent(name)}`, { enabled: !enabled })
      } catch (error) {
        this.#problem.textContent = error.message
      }
      this.#shown = ""
      this.#changed()
    }
    const how = { "aria-checked": String(enabled), "aria-label": `Cache of ${name}`, disabled: !this.#known.may, onclick: press }
    return h("button", { type: "button", role: "switch", ...how }, enabled ? "on" : "off")
  }
}

/** What the shadow of a context has shown. */
function compared(told) {
  if (!told) return "–"
  const all = told.equal + told.different
  if (!told.share && !all) return "not compared"
  const how = told.different ? "bad" : "good"
  const found = all ? h("span", { class: `badge ${how}` }, told.different ? `${count(told.different)} of ${count(all)} differ` : `${count(all)} equal`) : "nothing yet"
  return [found, h("span", { class: "hint" }, told.share ? `${percent(told.share)} of the hits` : "not compared any more")]
}

/** The latest responses that the origin would have given otherwise; null where there are none. */
function differences(shadow) {
  if (!shadow?.differences.length) return null
  const rows = shadow.differences.slice(0, DIFFERENCES).map(({ at, context, method, url, differs }) => [
    h("time", { datetime: at, title: at }, clock(Date.parse(at))),
    h("code", {}, context),
    h("code", {}, `${method} ${url}`),
    differs.join(", "),
  ])
  return table("Hits that the origin would have answered otherwise, newest first", ["When", "Context", "Request", "What differs"], rows)
}
