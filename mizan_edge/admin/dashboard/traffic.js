// What the edge has counted in the last quarter of an hour, and its charts.

import { Chart, SECONDS, SHARES } from "./chart.js"
import { h } from "./dom.js"
import { percent, time } from "./format.js"

const SPAN_MS = 15 * 60_000
export const ALL = "*"
export const NOWHERE = "-"
const COLOURS = 8
// As `mizan-edge top`, Grafana and the alerts have it: what cost the origin no fetch, of what the cache was asked for.
const ANSWERED = ["hit", "stale", "collapsed"]
const FETCHED = ["miss", "unstorable"]
const QUANTILES = {
  "Hits, 95 % below": ["hits", "p95"],
  "Hits, half below": ["hits", "p50"],
  "Misses, 95 % below": ["misses", "p95"],
  "Misses, half below": ["misses", "p50"],
}

/** The samples of the last quarter of an hour: what the edge had kept when the page was opened, and what came since. */
export class Samples {
  #started = null
  all = []

  /** The last one, which tells of the last half minute; undefined before there is one. */
  get last() {
    return this.all.at(-1)
  }

  /** The number of the last one. */
  get number() {
    return this.last?.number ?? 0
  }

  /** Adds those of an answer; false where the edge has begun anew, and has to be asked for all of them. */
  add({ started_ms: started, samples }) {
    const anew = this.#started !== null && this.#started !== started
    this.#started = started
    if (anew) {
      this.all = []
      return false
    }
    const last = this.number
    this.all.push(...samples.filter(({ number }) => number > last))
    const oldest = (this.last?.at_ms ?? 0) - SPAN_MS
    this.all = this.all.filter(({ at_ms: at }) => at >= oldest)
    return true
  }
}

/** The requests of a context in a sample, by outcome. */
export const outcomesOf = (sample, context) => sample?.contexts[context]?.outcomes ?? {}

/** How many requests there were, of any outcome. */
export const requests = (outcomes) => Object.values(outcomes).reduce((sum, number) => sum + number, 0)

/** The share of the requests that the cache was asked for which it answered; null where there were none. */
export function ratio(outcomes) {
  const of = (names) => names.reduce((sum, outcome) => sum + (outcomes[outcome] ?? 0), 0)
  const answered = of(ANSWERED)
  const all = answered + of(FETCHED)
  return all ? answered / all : null
}

/** The charts of hit ratio and latency. */
export class Charts {
  #ratio
  #latency
  #select
  #samples

  constructor(ratioRoot, latencyRoot, samples) {
    this.#samples = samples
    this.#ratio = new Chart(ratioRoot, "The share of what the cache was asked for that it answered, by context", SHARES, percent)
    this.#select = h("select", { id: "quantile", onchange: () => this.draw() }, ...Object.keys(QUANTILES).map((name) => h("option", {}, name)))
    latencyRoot.append(h("div", { class: "row narrow" }, h("label", { for: "quantile" }, "Of"), this.#select))
    this.#latency = new Chart(latencyRoot, "How long requests took, by context", SECONDS, time)
  }

  draw() {
    const samples = this.#samples.all
    if (!samples.length) return
    const end = samples.at(-1).at_ms
    const names = contextsOf(samples)
    const [kind, quantile] = QUANTILES[this.#select.value]
    const series = (value) =>
      names.map((context, i) => ({
        name: context === ALL ? "all" : context,
        colour: i % COLOURS,
        points: samples.map((sample) => [sample.at_ms, value(sample, context)]),
      }))
    this.#ratio.draw(series((sample, context) => ratio(outcomesOf(sample, context))), [end - SPAN_MS, end])
    this.#latency.draw(series((sample, context) => sample.contexts[context]?.[kind]?.[quantile] ?? null), [end - SPAN_MS, end])
  }
}

/** The contexts that were asked for, all of them together first; as many as there are colours, those with most requests. */
function contextsOf(samples) {
  const sums = new Map()
  for (const { contexts } of samples) {
    for (const [name, { outcomes = {} }] of Object.entries(contexts)) sums.set(name, (sums.get(name) ?? 0) + requests(outcomes))
  }
  const names = [...sums.keys()].filter((name) => name !== ALL && name !== NOWHERE)
  const most = names.toSorted((a, b) => sums.get(b) - sums.get(a)).slice(0, COLOURS - 1)
  return [ALL, ...most.toSorted()]
}
