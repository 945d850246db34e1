// Elements. Text is always text: nothing here, and nothing on this page, makes markup of a string.

const SVG = "http://www.w3.org/2000/svg"

/**
 * An HTML element: `h("button", { type: "button", onclick: act }, "Purge ", h("code", {}, scope))`.
 * A function is a listener; true and false are attributes that are there or not; a child that is null or false is left
 * out.
 */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children)
}

/** The same of SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children)
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value)
    else if (value === true) element.setAttribute(name, "")
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value)
  }
  element.append(...present(children))
  return element
}

/** Puts children in the place of what an element has. */
export function show(element, ...children) {
  element.replaceChildren(...present(children))
}

/** A table: `rows` are lists of cells, each a child or `{ number: child }`; the first of a row is its heading. */
export function table(caption, headings, rows) {
  const head = headings.map((cell) => h("th", { scope: "col", ...side(cell) }, inner(cell)))
  const body = rows.map((row) =>
    h("tr", {}, ...row.map((cell, i) => h(i ? "td" : "th", { ...(i ? {} : { scope: "row" }), ...side(cell) }, inner(cell)))),
  )
  return h(
    "div",
    { class: "scrolls", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body)),
  )
}

/** Terms and their values; those without one are left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
  return h("dl", { class: "facts" }, ...known.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]))
}

/** Short texts in a row; null where there are none. */
export function chips(texts) {
  return texts.length ? h("ul", { class: "chips" }, ...texts.map((text) => h("li", { class: "chip" }, text))) : null
}

/** A line for people in the place of something. */
export function hint(text) {
  return h("p", { class: "hint" }, text)
}

function side(cell) {
  return cell?.number === undefined ? {} : { class: "number" }
}

function inner(cell) {
  return cell?.number === undefined ? cell : cell.number
}

function present(children) {
  return children.flat().filter((child) => child !== null && child !== undefined && child !== false)
}
