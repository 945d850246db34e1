// Curves over time, as SVG.

import { h, show, svg, table } from "./dom.js"
import { clock } from "./format.js"

const HEIGHT = 190
const MARGIN = { left: 46, right: 10, top: 8, bottom: 22 }
const GAP_MS = 60_000 // beyond it, two points are not joined
const EVERY_MS = 180_000 // between two marks of the time

/** A scale from 0 to 1. */
export const SHARES = { bounds: () => [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1], place: (value) => value }

/** A scale of seconds, by decades. */
export const SECONDS = {
  bounds: (values) => [10 ** Math.floor(Math.log10(Math.min(...values, 1e-4))), 10 ** Math.ceil(Math.log10(Math.max(...values, 1e-2)))],
  ticks: [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100],
  place: Math.log10,
}

/** One chart; what it shows is drawn anew with each `draw`. */
export class Chart {
  #scale
  #format
  #svg
  #told = h("div", { class: "told", role: "status", hidden: true })
  #plot
  #legend = h("ul", { class: "legend" })
  #figures = h("div")
  #series = []
  #span = [0, 1]
  #hidden = new Set()
  #cursor = null

  /** @param {string} label what it shows, for those who do not see it @param {(value: number) => string} format */
  constructor(root, label, scale, format) {
    this.#scale = scale
    this.#format = format
    this.#svg = svg("svg", { height: HEIGHT, role: "img", tabindex: "0", "aria-label": `${label}. The arrow keys move through it; the figures are below.` })
    this.#plot = h("div", { class: "plot" }, this.#svg, this.#told)
    root.append(h("figure", {}, this.#plot, this.#legend, h("details", {}, h("summary", {}, "Figures"), this.#figures)))
    new ResizeObserver(() => this.#redraw()).observe(this.#plot)
    this.#svg.addEventListener("pointermove", ({ offsetX }) => this.#point(this.#timeAt(offsetX)))
    this.#svg.addEventListener("pointerleave", () => this.#point(null))
    this.#svg.addEventListener("blur", () => this.#point(null))
    this.#svg.addEventListener("keydown", (event) => this.#move(event))
  }

  /**
   * @param {{name: string, colour: number, points: [number, number | null][]}[]} series points are a time in ms and a
   * value, by time; null where there is none
   * @param {[number, number]} span from when until when, in ms
   */
  draw(series, span) {
    this.#series = series
    this.#span = span
    this.#redraw()
  }

  #redraw() {
    const width = this.#plot.clientWidth
    if (!width) return
    const shown = this.#series.filter(({ name }) => !this.#hidden.has(name))
    const values = shown.flatMap(({ points }) => points.map(([, value]) => value)).filter((value) => value !== null)
    const bounds = this.#scale.bounds(values)
    const [low, high] = bounds.map(this.#scale.place)
    const bottom = HEIGHT - MARGIN.bottom
    const y = (value) => bottom - ((this.#scale.place(value) - low) / (high - low)) * (bottom - MARGIN.top)
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`)
    const cursor = this.#cursor === null ? null : this.#x(this.#cursor)
    show(
      this.#svg,
      ...this.#scale.ticks
        .filter((tick) => tick >= bounds[0] * 0.999 && tick <= bounds[1] * 1.001)
        .flatMap((tick) => [
          svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
          svg("text", { x: MARGIN.left - 6, y: y(tick) + 4, "text-anchor": "end" }, this.#format(tick)),
        ]),
      ...times(this.#span).map((at) => svg("text", { x: this.#x(at), y: HEIGHT - 6, "text-anchor": "middle" }, clock(at).slice(0, 5))),
      ...shown.map(({ colour, points }) => svg("path", { class: `curve of-${colour}`, d: path(points, (at) => this.#x(at), y) })),
      !values.length && svg("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "Nothing yet"),
      cursor !== null && svg("line", { class: "cursor", x1: cursor, x2: cursor, y1: MARGIN.top, y2: bottom }),
    )
    this.#showLegend()
    show(this.#figures, figures(shown, this.#format))
    this.#tell(shown)
  }

  #x(at) {
    const [from, to] = this.#span
    return MARGIN.left + ((at - from) / (to - from)) * (this.#plot.clientWidth - MARGIN.left - MARGIN.right)
  }

  #timeAt(x) {
    const [from, to] = this.#span
    return from + ((x - MARGIN.left) / (this.#plot.clientWidth - MARGIN.left - MARGIN.right)) * (to - from)
  }

  #moments() {
    return [...new Set(this.#series.flatMap(({ points }) => points.map(([at]) => at)))].toSorted((a, b) => a - b)
  }

  /** Puts the cursor on the moment that is nearest to a time; null takes it away. */
  #point(time) {
    const nearest = (best, at) => (best === null || Math.abs(at - time) < Math.abs(best - time) ? at : best)
    const cursor = time === null ? null : this.#moments().reduce(nearest, null)
    if (cursor === this.#cursor) return
    this.#cursor = cursor
    this.#redraw()
  }

  #move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    const moments = this.#moments()
    if (!step || !moments.length) return
    event.preventDefault()
    const here = this.#cursor === null ? (step > 0 ? -1 : moments.length) : moments.indexOf(this.#cursor)
    this.#point(moments[Math.min(moments.length - 1, Math.max(0, here + step))])
  }

  #tell(shown) {
    this.#told.hidden = this.#cursor === null
    if (this.#cursor === null) return
    const values = shown.map(({ name, colour, points }) => {
      const value = points.find(([at]) => at === this.#cursor)?.[1] ?? null
      return value === null ? null : h("div", {}, h("span", { class: `swatch of-${colour}` }), ` ${name} ${this.#format(value)}`)
    })
    show(this.#told, h("strong", {}, clock(this.#cursor)), ...values)
    const right = this.#x(this.#cursor) < this.#plot.clientWidth / 2
    this.#told.style.inset = right ? `0 0 auto auto` : `0 auto auto ${MARGIN.left}px`
  }

  #showLegend() {
    const names = this.#series.map(({ name }) => name).join("\n")
    if (this.#legend.dataset.names === names) return // a button that has the focus stays
    this.#legend.dataset.names = names
    const entry = ({ name, colour }) => {
      const toggle = ({ currentTarget }) => {
        this.#hidden.has(name) ? this.#hidden.delete(name) : this.#hidden.add(name)
        currentTarget.setAttribute("aria-pressed", String(!this.#hidden.has(name)))
        this.#redraw()
      }
      const pressed = String(!this.#hidden.has(name))
      return h("li", {}, h("button", { type: "button", "aria-pressed": pressed, onclick: toggle }, h("span", { class: `swatch of-${colour}` }), name))
    }
    show(this.#legend, ...this.#series.map(entry))
  }
}

function times([from, to]) {
  const first = Math.ceil((from + EVERY_MS / 6) / EVERY_MS) * EVERY_MS
  return Array.from({ length: Math.max(0, Math.ceil((to - EVERY_MS / 8 - first) / EVERY_MS)) }, (_, i) => first + i * EVERY_MS)
}

function path(points, x, y) {
  let d = ""
  let last = -Infinity
  for (const [at, value] of points) {
    if (value === null) continue
    // A point of its own is seen by its round ends.
    d += `${at - last > GAP_MS ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}${at - last > GAP_MS ? "h0" : ""}`
    last = at
  }
  return d
}

function figures(series, format) {
  const rows = series.map(({ name, points }) => {
    const values = points.map(([, value]) => value).filter((value) => value !== null)
    const told = values.length ? [values.at(-1), Math.min(...values), Math.max(...values)].map(format) : ["–", "–", "–"]
    return [name, ...told.map((number) => ({ number }))]
  })
  return table("Of the last 15 minutes", ["", { number: "Last" }, { number: "Least" }, { number: "Greatest" }], rows)
}
