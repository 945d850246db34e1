// Why a request is answered as it is.

import { chips, facts, h, hint, show, table } from "./dom.js"
import { bytes, clock, span } from "./format.js"

const HOW = { hit: "good", stale: "warn", miss: "warn", pass: "", refused: "bad" }

/** Has a form ask, and shows the answer; `offer` takes a scope that somebody may want to purge. */
export function explainBox(form, root, session, offer) {
  let latest = 0

  form.addEventListener("submit", async (event) => {
    event.preventDefault()
    const asking = (latest += 1)
    const { url, method, host, headers } = form.elements
    const query = new URLSearchParams({ url: url.value.trim() })
    if (method.value !== "GET") query.set("method", method.value)
    if (host.value.trim()) query.set("host", host.value.trim())
    for (const line of headers.value.split("\n")) if (line.trim()) query.append("header", line.trim())
    const [told, problem] = await session.get(`/explain?${query}`).then(
      (told) => [told, null],
      (problem) => [null, problem],
    )
    if (asking !== latest) return
    if (told) show(root, explained(told, offer))
    else show(root, h("p", { class: "problem" }, problem.status === 404 ? "Not available on this edge." : problem.message))
  })
}

function explained(told, offer) {
  const { decision, rule, key, stored, not_stored: refused } = told
  return h(
    "div",
    { class: "stack" },
    h(
      "p",
      {},
      h("span", { class: `badge ${HOW[decision.outcome] ?? ""}` }, decision.outcome),
      ` ${decision.reason}`,
      decision.section && h("span", { class: "hint" }, ` (${decision.section})`),
    ),
    facts([
      ["Asked", h("code", {}, `${told.method} ${told.scheme}://${told.host}${told.url}`)],
      ["Cache-Status", decision.cache_status && h("code", {}, decision.cache_status)],
      ["Rule", rule && [h("code", {}, rule.pattern), ` in the context `, h("code", {}, rule.context)]],
      ["For", told.partition && h("code", {}, told.partition)],
      ["Key", key && keyChips(key)],
      ["Varies by", chips(told.varies_by)],
      ["Affects", chips(told.affects)],
      ["Last purge", told.last_purge && [h("code", {}, told.last_purge.scope), ` (number ${told.last_purge.seq})`]],
      ["In memory", told.workers.length > 0 && memory(told.workers)],
      ["Not stored", refused && `${refused.reason ?? ""} At ${clock(Date.parse(refused.at))}.`],
    ]),
    stored && response(stored),
    purgedBy(told.purged_by, offer),
    told.entries.length > 0 && entries(told.entries),
  )
}

function keyChips(key) {
  const params = Object.entries(key.params).map(([name, value]) => `${name}=${Array.isArray(value) ? value.join(" ") : value}`)
  const variant = Object.entries(key.variant ?? {}).map(([name, value]) => `${name}: ${value ?? "none"}`)
  return chips([...params, ...variant, ...(key.rev ? [`rev ${key.rev}`] : [])]) ?? "no parameters"
}

function memory(workers) {
  const holding = workers.filter((worker) => worker.holds).length
  return `${holding} of ${workers.length} workers`
}

function response(stored) {
  const codings = Object.entries(stored.codings).map(([coding, size]) => `${coding} ${bytes(size)}`)
  const left = stored.ttl > 0 ? `fresh for ${span(stored.ttl)} more` : `stale for ${span(-stored.ttl)}`
  return h(
    "div",
    {},
    h("h3", {}, "What is stored"),
    facts([
      ["Response", `${stored.status}, ${[bytes(stored.size), ...codings].join(", ")}`],
      ["Age", `${span(stored.age)}, ${left}`],
      ["Fetched in", `${stored.took_ms} ms`],
      ["ETag", stored.etag && h("code", {}, stored.etag)],
    ]),
  )
}

function purgedBy({ scopes, mutations }, offer) {
  if (!scopes.length) return null
  const button = (scope) => h("button", { type: "button", class: "link mono", onclick: () => offer(scope) }, scope)
  return h(
    "div",
    {},
    h("h3", {}, "What purges it"),
    facts([
      ["Scopes", h("ul", { class: "chips" }, ...scopes.map((scope) => h("li", { class: "chip" }, button(scope))))],
      ["Mutations", mutations.length > 0 && chips(mutations.map(({ mutation, scope }) => `${mutation} → ${scope}`))],
    ]),
    hint("A scope that is chosen goes into the form for purges."),
  )
}

function entries(all) {
  const rows = all.map((entry) => [
    h("code", {}, entry.partition),
    { number: entry.status },
    { number: bytes(entry.size) },
    { number: span(entry.age) },
    { number: entry.ttl > 0 ? span(entry.ttl) : `stale for ${span(-entry.ttl)}` },
  ])
  return table("Stored under this URL, for whomever", ["For", { number: "Status" }, { number: "Size" }, { number: "Age" }, { number: "Fresh for" }], rows)
}
