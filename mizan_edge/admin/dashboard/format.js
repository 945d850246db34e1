// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en")
const shares = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1, roundingMode: "floor" })
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 })

/** 12345 -> "12,345" */
export const count = (number) => whole.format(number)

/** 0.98765 -> "98.7%", and 100% is all of it; null -> "–" */
export const percent = (share) => (share === null ? "–" : shares.format(share))

/** Of something that happens, in a second: 1234.5 -> "1,230", 0.25 -> "0.25" */
export const rate = (perSecond) => short.format(perSecond)

/** Seconds, however few: 0.0000123 -> "12.3 µs"; null -> "–" */
export function time(seconds) {
  if (seconds === null) return "–"
  if (seconds < 0.001) return `${short.format(seconds * 1e6)} µs`
  if (seconds < 1) return `${short.format(seconds * 1e3)} ms`
  return `${short.format(seconds)} s`
}

/** Seconds, however many: 93784 -> "1 d 2 h" */
export function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]
  let left = Math.max(0, Math.round(seconds))
  const parts = []
  for (const [unit, size] of units) {
    const number = Math.floor(left / size)
    if (number || (unit === "s" && !parts.length)) parts.push(`${number} ${unit}`)
    left -= number * size
    if (parts.length === 2) break
  }
  return parts.join(" ")
}

/** 2048 -> "2.05 kB" */
export function bytes(number) {
  const units = ["B", "kB", "MB", "GB"]
  let i = 0
  while (number >= 1000 && i < units.length - 1) {
    number /= 1000
    i += 1
  }
  return `${short.format(number)} ${units[i]}`
}

/** A time of day in the reader's zone: "14:03:22" */
export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB")

/** One of something, or several: (1, "entry", "entries") -> "1 entry" */
export const several = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`

/** Enough of an id to tell one from another. */
export const name = (id) => id.slice(0, 8)
