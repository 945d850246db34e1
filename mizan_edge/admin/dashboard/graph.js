// The manifest as a graph: mutations, the contexts that they purge, and what is read of these.

import { chips, h, hint, show, svg } from "./dom.js"
import { mean, spread, untangled } from "./layering.js"

const LEAST_WIDTH = 620
const NODE = { width: 0.27, height: 24, gap: 30 }
const CHARACTER = 7.3 // of its font, in px

/** The graph, drawn anew when the manifest or the width is another. */
export class Graph {
  #root
  #manifest = null
  #text = ""

  constructor(root) {
    this.#root = root
    let width = 0
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width !== width && this.#manifest) this.#draw()
      width = contentRect.width
    }).observe(root)
  }

  use(manifest) {
    const text = JSON.stringify(manifest)
    if (text === this.#text && this.#root.hasChildNodes()) return
    this.#text = text
    this.#manifest = manifest
    this.#draw()
  }

  #draw() {
    const manifest = this.#manifest
    if (!Object.keys(manifest.contexts).length) return show(this.#root, hint("The manifest declares no context: nothing is cached."))
    const width = Math.max(LEAST_WIDTH, this.#root.clientWidth)
    show(
      this.#root,
      h(
        "figure",
        {},
        h("figcaption", {}, "A mutation, the contexts that it purges, and what of these is cached. Choose one to see what it belongs to."),
        h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "The graph" }, drawn(placed(manifest), width)),
        h("details", {}, h("summary", {}, "As a list"), listed(manifest)),
      ),
    )
  }
}

/** Nodes with their columns and heights, and the edges between them. Pure. */
export function placed({ contexts, mutations }) {
  const links = Object.entries(mutations).flatMap(([name, { affects }]) => affects.map(({ context }) => [name, context]))
  const [changing, names] = untangled(Object.keys(mutations), Object.keys(contexts), links)
  const nodes = []
  const edges = []
  const heights = new Map()
  let y = 0
  for (const name of names) {
    const reads = readsOf(contexts[name])
    const first = y
    for (const { text, kind } of reads) {
      const id = `${kind} ${text}`
      nodes.push({ id, text, kind, column: 2, y })
      edges.push({ from: `context ${name}`, to: id, title: "" })
      y += NODE.gap
    }
    const last = Math.max(first, y - NODE.gap)
    heights.set(name, (first + last) / 2)
    nodes.push({ id: `context ${name}`, text: name, kind: "context", column: 1, y: (first + last) / 2 })
    y = last + NODE.gap * 1.5
  }
  const wanted = (name) => mean(mutations[name].affects.map(({ context }) => heights.get(context)), 0)
  const places = spread(changing.toSorted((a, b) => wanted(a) - wanted(b)), wanted, NODE.gap)
  for (const [name, place] of places) nodes.push({ id: `mutation ${name}`, text: name, kind: "mutation", column: 0, y: place })
  for (const [name, { affects }] of Object.entries(mutations)) {
    for (const { context, params } of affects) {
      edges.push({ from: `mutation ${name}`, to: `context ${context}`, title: narrowed(params) })
    }
  }
  const height = Math.max(...nodes.map((node) => node.y)) + NODE.height
  return { nodes: nodes.toSorted((a, b) => a.column - b.column || a.y - b.y), edges, height }
}

function drawn({ nodes, edges, height }, width) {
  const wide = width * NODE.width
  const left = (column) => Math.min(width - wide - 1, (column * (width - wide)) / 2 + 1)
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const lines = edges.map(({ from, to, title }) => {
    const [a, b] = [byId.get(from), byId.get(to)]
    const [x1, y1, x2, y2] = [left(a.column) + wide, a.y + NODE.height / 2, left(b.column) - 5, b.y + NODE.height / 2]
    const bend = (x2 - x1) / 2
    const d = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`
    return [svg("path", { class: "edge", d, "marker-end": "url(#arrow)", "data-from": from, "data-to": to }, svg("title", {}, title))]
  })
  const boxes = nodes.map((node) => box(node, left(node.column), wide))
  const head = svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 3, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto", markerUnits: "userSpaceOnUse" }, svg("path", { class: "head", d: "M0 0L8 4L0 8z" }))
  const picture = svg(
    "svg",
    { width, height: height + 2, role: "group", "aria-label": "What purges what" },
    svg("defs", {}, head),
    ...lines.flat(),
    ...boxes,
  )
  for (const element of picture.querySelectorAll(".node")) {
    const light = () => lightUp(picture, element.dataset.id, edges)
    const off = () => lightUp(picture, null, edges)
    element.addEventListener("pointerenter", light)
    element.addEventListener("pointerleave", off)
    element.addEventListener("focus", light)
    element.addEventListener("blur", off)
  }
  return picture
}

function box({ id, text, kind, y }, x, width) {
  const fits = Math.max(3, Math.floor((width - 16) / CHARACTER))
  const shown = text.length > fits ? `${text.slice(0, fits - 1)}…` : text
  return svg(
    "g",
    { class: `node ${kind}`, tabindex: "0", role: "img", "aria-label": `${kind} ${text}`, "data-id": id },
    svg("title", {}, `${kind}: ${text}`),
    svg("rect", { x, y: y + 1, width, height: NODE.height - 1, rx: 6 }),
    svg("text", { x: x + 8, y: y + 16.5 }, shown),
  )
}

/** Shows one node, and what is linked with it, before the others. */
function lightUp(picture, id, edges) {
  const lit = id === null ? null : reached(id, edges)
  picture.classList.toggle("lit", lit !== null)
  for (const node of picture.querySelectorAll(".node")) node.classList.toggle("dim", lit !== null && !lit.has(node.dataset.id))
  for (const edge of picture.querySelectorAll(".edge")) {
    edge.classList.toggle("dim", lit !== null && !(lit.has(edge.dataset.from) && lit.has(edge.dataset.to)))
  }
}

/** What leads to a node, and where it leads, each in one direction alone. */
function reached(id, edges) {
  const found = new Set([id])
  for (const [near, far] of [["from", "to"], ["to", "from"]]) {
    const open = [id]
    while (open.length) {
      const here = open.pop()
      for (const edge of edges) {
        if (edge[near] === here && !found.has(edge[far])) {
          found.add(edge[far])
          open.push(edge[far])
        }
      }
    }
  }
  return found
}

function readsOf({ views, endpoints, functions }) {
  return [
    ...views.map((text) => ({ text, kind: "view" })),
    ...endpoints.map((text) => ({ text, kind: "endpoint" })),
    ...functions.filter(({ path, cache }) => path === "rpc" && cache).map(({ name }) => ({ text: name, kind: "function" })),
  ]
}

function listed({ contexts, mutations }) {
  const purging = (name) =>
    Object.entries(mutations).flatMap(([mutation, { affects }]) =>
      affects.filter(({ context }) => context === name).map(({ params }) => `${mutation} (${narrowed(params)})`),
    )
  return h(
    "dl",
    { class: "facts" },
    ...Object.entries(contexts).flatMap(([name, context]) => [
      h("dt", {}, h("code", {}, name)),
      h(
        "dd",
        { class: "stack" },
        h("div", {}, "Purged by ", chips(purging(name)) ?? "no mutation"),
        h("div", {}, "Cached ", chips(readsOf(context).map(({ text }) => text)) ?? "nothing"),
      ),
    ]),
  )
}

function narrowed(params) {
  return params.length ? `by ${params.join(", ")}` : "all of it"
}
